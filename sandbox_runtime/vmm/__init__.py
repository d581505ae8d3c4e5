"""Drives the virtual machine monitor: QEMU's `microvm` machine, by templates that are restored or by cold boot."""
