package main

import (
	"errors"
	"os"
	"syscall"
)

// listenForTerminal makes the socket over which crun hands us the terminal's master side.
func (p *pipes) listenForTerminal(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	p.console, p.consolePath = fd, path
	_ = os.Remove(path)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	return syscall.Listen(fd, 1)
}

// receiveTerminal takes the descriptor. crun has ended well, so it is there already.
func (p *pipes) receiveTerminal(stdio msgStdio) error {
	fd, _, err := syscall.Accept4(p.console, syscall.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	data, rights := make([]byte, 256), make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := syscall.Recvmsg(fd, data, rights, syscall.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return errors.New("no terminal came")
	}
	descriptors, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(descriptors) != 1 {
		return errors.New("no terminal came")
	}
	if err := syscall.SetNonblock(descriptors[0], true); err != nil {
		return err
	}
	p.terminal = os.NewFile(uintptr(descriptors[0]), "terminal")
	p.input, p.outputs[0] = p.terminal, p.terminal
	if stdio.Rows > 0 && stdio.Columns > 0 {
		return p.resize(stdio.Rows, stdio.Columns)
	}
	return nil
}
