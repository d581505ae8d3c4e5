package main

import (
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

func (a *agent) stats(ids []string) msgStats {
	a.mu.Lock()
	chosen := []*container{}
	for id, c := range a.containers {
		if !c.init.starting && (len(ids) == 0 || contains(ids, id)) {
			chosen = append(chosen, c)
		}
	}
	a.mu.Unlock()
	sort.Slice(chosen, func(i, j int) bool { return chosen[i].id < chosen[j].id })
	result := msgStats{
		AtNs: nowNs(), Guest: guestStats(), Containers: []msgContainerStats{}, Interfaces: interfaceStats(),
	}
	for _, c := range chosen {
		result.Containers = append(result.Containers, containerStats(c))
	}
	return result
}

func contains(list []string, wanted string) bool {
	for _, each := range list {
		if each == wanted {
			return true
		}
	}
	return false
}

func containerStats(c *container) msgContainerStats {
	path := cgroupRoot + c.cgroup + "/"
	cpu, memory := counters(path+"cpu.stat"), counters(path+"memory.stat")
	s := msgContainerStats{
		Id: c.id, CpuUs: cpu["usage_usec"], CpuUserUs: cpu["user_usec"], CpuSystemUs: cpu["system_usec"],
		ThrottledUs: cpu["throttled_usec"], MemoryBytes: number(path + "memory.current"),
		MemoryPeakBytes: number(path + "memory.peak"), MemoryLimitBytes: number(path + "memory.max"),
		AnonBytes: memory["anon"], FileBytes: memory["file"], PageFaults: memory["pgfault"],
		MajorPageFaults: memory["pgmajfault"], OomKills: counters(path + "memory.events")["oom_kill"],
		Pids: number(path + "pids.current"), PidsLimit: number(path + "pids.max"),
	}
	if s.WorkingSetBytes = s.MemoryBytes - memory["inactive_file"]; s.WorkingSetBytes < 0 {
		s.WorkingSetBytes = 0
	}
	for _, line := range strings.Split(readText(path+"io.stat"), "\n") {
		for _, field := range strings.Fields(line) {
			name, text, _ := strings.Cut(field, "=")
			value, _ := strconv.ParseInt(text, 10, 64)
			switch name {
			case "rbytes":
				s.ReadBytes += value
			case "wbytes":
				s.WrittenBytes += value
			case "rios":
				s.Reads += value
			case "wios":
				s.Writes += value
			}
		}
	}
	return s
}

func guestStats() msgGuestStats {
	info := map[string]int64{}
	for _, line := range strings.Split(readText("/proc/meminfo"), "\n") {
		fields := strings.Fields(line)
		if len(fields) >= 2 {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			info[strings.TrimSuffix(fields[0], ":")] = kib * 1024
		}
	}
	return msgGuestStats{
		MemoryTotalBytes: info["MemTotal"], MemoryFreeBytes: info["MemFree"],
		MemoryAvailableBytes: info["MemAvailable"], PageCacheBytes: info["Cached"] + info["Buffers"],
		SlabBytes: info["Slab"], CpuUs: busyTime(), UptimeUs: sinceBoot().Microseconds(), AgentBytes: agentBytes(),
	}
}

// busyTime sums the first line of /proc/stat without idle and iowait; its unit is 10 ms (USER_HZ).
func busyTime() int64 {
	const idle, iowait, guest = 4, 5, 9
	var ticks int64
	line, _, _ := strings.Cut(readText("/proc/stat"), "\n")
	for at, field := range strings.Fields(line) {
		if at == 0 || at == idle || at == iowait || at >= guest {
			continue
		}
		value, _ := strconv.ParseInt(field, 10, 64)
		ticks += value
	}
	return ticks * 10000
}

func agentBytes() int64 {
	fields := strings.Fields(readText("/proc/self/statm"))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func interfaceStats() []msgInterfaceStats {
	found := []msgInterfaceStats{}
	for _, line := range strings.Split(readText("/proc/net/dev"), "\n") {
		name, rest, split := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !split || len(f) < 12 {
			continue
		}
		n := make([]int64, len(f))
		for at := range f {
			n[at], _ = strconv.ParseInt(f[at], 10, 64)
		}
		found = append(found, msgInterfaceStats{
			strings.TrimSpace(name), n[0], n[1], n[2], n[3], n[8], n[9], n[10], n[11],
		})
	}
	return found
}

func volumeStats(target string) (any, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(target, &s); err != nil {
		return nil, failOn(target, err)
	}
	unit := s.Frsize
	return msgVolumeStats{
		int64(s.Blocks) * unit, int64(s.Bfree) * unit, int64(s.Bavail) * unit, int64(s.Files), int64(s.Ffree),
	}, nil
}
