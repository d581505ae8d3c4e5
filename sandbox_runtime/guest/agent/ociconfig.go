package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// object is a JSON object whose unknown parts pass through unharmed.
type object map[string]any

func parseObject(text string) (object, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber() // rlimits reach beyond what a float holds
	var parsed object
	if err := decoder.Decode(&parsed); err != nil || parsed == nil {
		return nil, fail("bad-request", "no JSON object: %v", err)
	}
	return parsed, nil
}

func (o object) child(name string) object {
	switch child := o[name].(type) {
	case map[string]any:
		return child
	case object:
		return child
	}
	made := object{}
	o[name] = made
	return made
}

// guestConfig makes the host's config.json one for this guest: our root and cgroup, the pod's network and names (which
// are those of the guest itself), and nothing that only the host has.
func guestConfig(params *msgCreate) ([]byte, error) {
	config, err := parseObject(params.Config)
	if err != nil {
		return nil, err
	}
	if params.Rootfs != "" {
		config.child("root")["path"] = params.Rootfs
	}
	delete(config, "hooks")
	linux := config.child("linux")
	linux["cgroupsPath"] = podCgroup + "/" + params.Id
	delete(linux, "mountLabel")
	spaces, _ := linux["namespaces"].([]any)
	own := guestNamespaces(spaces)
	linux["namespaces"] = own
	if !hasNamespace(own, "uts") {
		delete(config, "hostname")
		delete(config, "domainname")
	}
	podSysctls(linux.child("sysctl"), hasNamespace(own, "ipc"))
	keepReadOnly(config["mounts"])
	guestTerminal(config.child("process"), params.Stdio)
	return json.Marshal(config)
}

// guestNamespaces leaves out what the pod shares: there is one network, and a path of the host means that containers
// share with each other, which in a guest of their own they do by having none.
func guestNamespaces(spaces []any) []any {
	kept := []any{}
	for _, each := range spaces {
		space, _ := each.(map[string]any)
		path, _ := space["path"].(string)
		if space["type"] == "network" || path != "" && space["type"] != "pid" && space["type"] != "mount" {
			continue
		}
		kept = append(kept, each)
	}
	return kept
}

func guestProcess(params *msgExec) ([]byte, error) {
	process, err := parseObject(params.Process)
	if err != nil {
		return nil, err
	}
	guestTerminal(process, params.Stdio)
	return json.Marshal(process)
}

func guestTerminal(process object, stdio msgStdio) {
	process["terminal"] = stdio.Terminal
	delete(process, "apparmorProfile") // the guest's kernel has neither
	delete(process, "selinuxLabel")
	delete(process, "consoleSize")
	if stdio.Terminal && stdio.Rows > 0 && stdio.Columns > 0 {
		process["consoleSize"] = object{"height": stdio.Rows, "width": stdio.Columns}
	}
}

// keepReadOnly makes a bind mount of something read-only read-only. crun remounts what it binds with the options of the
// container alone, which would make a read-only volume writable.
func keepReadOnly(mounts any) {
	const readOnly = 1 // ST_RDONLY
	list, _ := mounts.([]any)
	for _, each := range list {
		mount, _ := each.(map[string]any)
		source, _ := mount["source"].(string)
		options, _ := mount["options"].([]any)
		binds := mount["type"] == "bind"
		for _, option := range options {
			binds = binds || option == "bind" || option == "rbind"
		}
		var about syscall.Statfs_t
		if !binds || syscall.Statfs(source, &about) != nil || about.Flags&readOnly == 0 {
			continue
		}
		kept := []any{"ro"}
		for _, option := range options {
			if option != "rw" {
				kept = append(kept, option)
			}
		}
		mount["options"] = kept
	}
}

func hasNamespace(spaces []any, kind string) bool {
	for _, each := range spaces {
		if space, _ := each.(map[string]any); space["type"] == kind {
			return true
		}
	}
	return false
}

// podSysctls sets those that belong to namespaces of the whole guest; crun would refuse them.
func podSysctls(sysctls object, ownIPC bool) {
	for name, value := range sysctls {
		ofIPC := strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") ||
			name == "kernel.sem" || strings.HasPrefix(name, "fs.mqueue.")
		if !strings.HasPrefix(name, "net.") && (ownIPC || !ofIPC) {
			continue
		}
		delete(sysctls, name)
		path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		if text, isText := value.(string); isText && strings.HasPrefix(path, "/proc/sys/") {
			_ = os.WriteFile(path, []byte(text), 0o644)
		}
	}
}
