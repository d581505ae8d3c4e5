package main

func upLoopback() error { return nil }
