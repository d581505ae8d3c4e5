package main

import (
	"os"
	"strings"
)

// enableControllers hands every controller that the kernel has to the children of a cgroup.
func enableControllers(path string) error {
	for _, controller := range strings.Fields(readText(path + "/cgroup.controllers")) {
		// One by one: a controller that refuses (rdma, misc) does not take the others with it.
		_ = os.WriteFile(path+"/cgroup.subtree_control", []byte("+"+controller), 0o644)
	}
	return nil
}
