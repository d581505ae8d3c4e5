package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAConfigIsMadeOneForThisGuest(t *testing.T) {
	config := `{"root":{"path":"/host"},"hooks":{"prestart":[{"path":"/bin/x"}]},"hostname":"h",
		"process":{"apparmorProfile":"p","rlimits":[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":1}]},
		"linux":{"cgroupsPath":"/kubepods/x","namespaces":[{"type":"network","path":"/run/netns/a"},{"type":"pid"},
		{"type":"uts","path":"/proc/1/ns/uts"},{"type":"mount"}]},"annotations":{"keep":"me"}}`
	made, err := guestConfig(&msgCreate{Id: "c", Config: config, Rootfs: "/run/r"})
	if err != nil {
		t.Fatal(err)
	}
	text := string(made)
	for _, wanted := range []string{`"path":"/run/r"`, `"cgroupsPath":"/pod/c"`, "18446744073709551615", `"keep":"me"`, `"type":"pid"`} {
		if !strings.Contains(text, wanted) {
			t.Errorf("no %s in %s", wanted, text)
		}
	}
	for _, unwanted := range []string{"hooks", "apparmor", "network", "uts", "hostname", "kubepods"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%s is still in %s", unwanted, text)
		}
	}
}

func TestWhatIsNoObjectIsRefused(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "3", "{"} {
		if _, err := guestConfig(&msgCreate{Config: text}); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestPartsOfTheWrongKindAreReplaced(t *testing.T) {
	made, err := guestConfig(&msgCreate{Id: "c", Config: `{"linux":3,"process":[],"root":"x"}`})
	if err != nil || !json.Valid(made) {
		t.Errorf("%s, %v", made, err)
	}
}
