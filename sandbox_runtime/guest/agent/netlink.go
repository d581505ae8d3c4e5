package main

import (
	"encoding/binary"
	"net/netip"
	"syscall"
)

// netlink is a conversation with the kernel about interfaces, addresses, routes and neighbours (rtnetlink(7)).
type netlink struct {
	fd  int
	seq uint32
}

func openNetlink() (*netlink, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &netlink{fd: fd}, nil
}

func (n *netlink) close() { syscall.Close(n.fd) }

// attribute is one rtattr: length, type, value, padded to four.
func attribute(kind uint16, value []byte) []byte {
	made := make([]byte, (4+len(value)+3)&^3)
	binary.LittleEndian.PutUint16(made, uint16(4+len(value)))
	binary.LittleEndian.PutUint16(made[2:], kind)
	copy(made[4:], value)
	return made
}

func u32(value uint32) []byte {
	made := make([]byte, 4)
	binary.LittleEndian.PutUint32(made, value)
	return made
}

// request sends one message and waits for the kernel's verdict; a dump returns its messages.
func (n *netlink) request(kind, flags uint16, body []byte) ([]syscall.NetlinkMessage, error) {
	n.seq++
	packet := make([]byte, syscall.NLMSG_HDRLEN, syscall.NLMSG_HDRLEN+len(body))
	binary.LittleEndian.PutUint32(packet, uint32(syscall.NLMSG_HDRLEN+len(body)))
	binary.LittleEndian.PutUint16(packet[4:], kind)
	binary.LittleEndian.PutUint16(packet[6:], flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	binary.LittleEndian.PutUint32(packet[8:], n.seq)
	packet = append(packet, body...)
	if err := syscall.Sendto(n.fd, packet, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	return n.collect()
}

func (n *netlink) collect() ([]syscall.NetlinkMessage, error) {
	var found []syscall.NetlinkMessage
	buffer := make([]byte, 64*1024)
	for {
		length, _, err := syscall.Recvfrom(n.fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:length])
		if err != nil {
			return nil, err
		}
		for _, message := range messages {
			switch message.Header.Type {
			case syscall.NLMSG_DONE:
				return found, nil
			case syscall.NLMSG_ERROR:
				if code := int32(binary.LittleEndian.Uint32(message.Data)); code != 0 {
					return nil, syscall.Errno(-code)
				}
				return found, nil
			default:
				message.Data = append([]byte(nil), message.Data...)
				found = append(found, message)
			}
		}
	}
}

// index finds an interface by name.
func (n *netlink) index(name string) (int32, error) {
	body := append(make([]byte, syscall.SizeofIfInfomsg), attribute(syscall.IFLA_IFNAME, append([]byte(name), 0))...)
	messages, err := n.request(syscall.RTM_GETLINK, 0, body)
	if err != nil || len(messages) == 0 {
		return 0, fail("not-found", "network interface %q: %v", name, err)
	}
	return int32(binary.LittleEndian.Uint32(messages[0].Data[4:])), nil
}

func family(address netip.Addr) byte {
	if address.Is4() {
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}
