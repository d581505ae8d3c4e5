package main

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

const (
	neighbourPermanent = 0x80 // NUD_PERMANENT
	scopeLink          = 253
	noDuplicateCheck   = 0x02 // IFA_F_NODAD: the CNI has checked; waiting would delay the pod by a second
	onLink             = 0x04 // RTNH_F_ONLINK: a gateway outside of the address's prefix
)

func upLoopback() error {
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	return n.setLink(msgInterface{Name: "lo"})
}

// applyNetwork makes the guest's network what the host describes, and nothing else.
func applyNetwork(params *msgNetwork) error {
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	for _, device := range params.Interfaces {
		if err := n.setLink(device); err != nil {
			return failOn("interface "+device.Name, err)
		}
		if err := n.setAddresses(device); err != nil {
			return failOn("addresses of "+device.Name, err)
		}
	}
	// Directly reachable destinations first: gateways must be reachable when a route names them.
	for _, viaGateway := range []bool{false, true} {
		for _, route := range params.Routes {
			if (route.Gateway != "") != viaGateway {
				continue
			}
			if err := n.setRoute(route); err != nil {
				return failOn("route to "+route.Destination+" by "+route.Gateway, err)
			}
		}
	}
	for _, neighbour := range params.Neighbours {
		if err := n.setNeighbour(neighbour); err != nil {
			return failOn("neighbour "+neighbour.Address, err)
		}
	}
	return nil
}

func linkMessage(index int32, up bool) []byte {
	body := make([]byte, syscall.SizeofIfInfomsg)
	binary.LittleEndian.PutUint32(body[4:], uint32(index))
	if up {
		binary.LittleEndian.PutUint32(body[8:], syscall.IFF_UP)
	}
	binary.LittleEndian.PutUint32(body[12:], syscall.IFF_UP)
	return body
}

// setLink gives an interface its hardware address and size, and turns it on.
func (n *netlink) setLink(device msgInterface) error {
	index, err := n.index(device.Name)
	if err != nil {
		return err
	}
	if device.Mac != "" {
		mac, err := parseMac(device.Mac)
		if err != nil {
			return err
		}
		if _, err := n.request(syscall.RTM_NEWLINK, 0, linkMessage(index, false)); err != nil {
			return err
		}
		body := append(linkMessage(index, false), attribute(syscall.IFLA_ADDRESS, mac)...)
		if _, err := n.request(syscall.RTM_NEWLINK, 0, body); err != nil {
			return err
		}
	}
	body := linkMessage(index, true)
	if device.Mtu > 0 {
		body = append(body, attribute(syscall.IFLA_MTU, u32(uint32(device.Mtu)))...)
	}
	_, err = n.request(syscall.RTM_NEWLINK, 0, body)
	return err
}

// setAddresses removes every address of the interface, then adds those that it is to have.
func (n *netlink) setAddresses(device msgInterface) error {
	index, err := n.index(device.Name)
	if err != nil {
		return err
	}
	old, err := n.request(syscall.RTM_GETADDR, syscall.NLM_F_DUMP, make([]byte, syscall.SizeofIfAddrmsg))
	if err != nil {
		return err
	}
	for _, message := range old {
		if message.Header.Type != syscall.RTM_NEWADDR || message.Data[3] == scopeLink { // IPv6 needs its link-local one
			continue
		}
		if binary.LittleEndian.Uint32(message.Data[4:]) == uint32(index) {
			if _, err := n.request(syscall.RTM_DELADDR, 0, message.Data); err != nil && err != syscall.EADDRNOTAVAIL {
				return err
			}
		}
	}
	for _, text := range device.Addresses {
		if err := n.addAddress(index, text); err != nil {
			return err
		}
	}
	return nil
}

func (n *netlink) addAddress(index int32, text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return fail("bad-request", "%v", err)
	}
	address := prefix.Addr()
	body := make([]byte, syscall.SizeofIfAddrmsg)
	body[0], body[1], body[2] = family(address), byte(prefix.Bits()), noDuplicateCheck
	binary.LittleEndian.PutUint32(body[4:], uint32(index))
	body = append(body, attribute(syscall.IFA_LOCAL, address.AsSlice())...)
	body = append(body, attribute(syscall.IFA_ADDRESS, address.AsSlice())...)
	_, err = n.request(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, body)
	return err
}

func (n *netlink) setRoute(route msgRoute) error {
	index, err := n.index(route.Device)
	if err != nil {
		return err
	}
	body := make([]byte, syscall.SizeofRtMsg)
	body[0] = syscall.AF_INET
	body[4], body[5], body[6], body[7] = syscall.RT_TABLE_MAIN, syscall.RTPROT_STATIC, scopeLink, syscall.RTN_UNICAST
	if route.Destination != "" {
		prefix, err := netip.ParsePrefix(route.Destination)
		if err != nil {
			return fail("bad-request", "%v", err)
		}
		body[0], body[1] = family(prefix.Addr()), byte(prefix.Bits())
		body = append(body, attribute(syscall.RTA_DST, prefix.Masked().Addr().AsSlice())...)
	}
	for _, part := range []struct {
		kind uint16
		text string
	}{{syscall.RTA_GATEWAY, route.Gateway}, {syscall.RTA_PREFSRC, route.Source}} {
		if part.text == "" {
			continue
		}
		address, err := netip.ParseAddr(part.text)
		if err != nil {
			return fail("bad-request", "%v", err)
		}
		body[0] = family(address)
		body = append(body, attribute(part.kind, address.AsSlice())...)
	}
	if route.Gateway != "" {
		body[6] = 0 // RT_SCOPE_UNIVERSE
		binary.LittleEndian.PutUint32(body[8:], onLink)
	}
	body = append(body, attribute(syscall.RTA_OIF, u32(uint32(index)))...)
	_, err = n.request(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, body)
	return err
}

func (n *netlink) setNeighbour(neighbour msgNeighbour) error {
	const sizeofNdmsg = 12
	index, err := n.index(neighbour.Device)
	if err != nil {
		return err
	}
	address, err := netip.ParseAddr(neighbour.Address)
	if err != nil {
		return fail("bad-request", "%v", err)
	}
	mac, err := parseMac(neighbour.Mac)
	if err != nil {
		return err
	}
	body := make([]byte, sizeofNdmsg)
	body[0] = family(address)
	binary.LittleEndian.PutUint32(body[4:], uint32(index))
	binary.LittleEndian.PutUint16(body[8:], neighbourPermanent)
	body = append(body, attribute(1, address.AsSlice())...) // NDA_DST
	body = append(body, attribute(2, mac)...)               // NDA_LLADDR
	_, err = n.request(syscall.RTM_NEWNEIGH, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, body)
	return err
}

func parseMac(text string) ([]byte, error) {
	mac := []byte{}
	for _, part := range strings.Split(text, ":") {
		value, err := strconv.ParseUint(part, 16, 8)
		if err != nil {
			return nil, fail("bad-request", "no hardware address: %q", text)
		}
		mac = append(mac, byte(value))
	}
	if len(mac) != 6 {
		return nil, fail("bad-request", "no hardware address: %q", text)
	}
	return mac, nil
}
