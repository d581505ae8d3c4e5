package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The seeds run as ordinary tests; `go test -fuzz FuzzSession` searches on.

func FuzzSession(f *testing.F) {
	f.Add([]byte{})
	f.Add(marked())
	f.Add(marked(packet(wireRequest, 1, `{"method":"list","params":{}}`)))
	f.Add(marked(packet(wireRequest, 1, `{"method":"put_files","params":{"target":"/x","stream":2,"atomic":true}}`),
		packet(wireData, 2, "abc"), packet(wireEnd, 2, ""), packet(wireStop, 1, ""), packet(wireCredit, 1, "\xff\xff\xff\xff")))
	f.Add(marked(packet(wireRequest, 1, `{"method":null}`), packet(wireRequest, 1, `[`), packet(wireRequest, 0, ``)))
	f.Add(append(marked([]byte{wireRequest, wireVersion, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), marked()...))
	f.Fuzz(func(t *testing.T, said []byte) { conversation(t, said, "") })
}

func FuzzFrames(f *testing.F) {
	f.Add(marked(packet(wireData, 2, "abc")))
	f.Fuzz(func(t *testing.T, said []byte) {
		reader := newFrameReader(bytes.NewReader(said))
		if _, err := reader.mark(); err != nil {
			return
		}
		for {
			got, err := reader.next()
			if err != nil {
				return
			}
			if len(got.payload) > largest(got.kind) {
				t.Fatalf("kind %d with %d bytes", got.kind, len(got.payload))
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	for name, empty := range requests {
		params, _ := json.Marshal(empty())
		f.Add([]byte(`{"method":"` + name + `","params":` + string(params) + `}`))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		request, err := decodeRequest(payload)
		if err != nil {
			return
		}
		streamsOf(request)
		if create, is := request.(method).params.(*msgCreate); is {
			create.Id = "a"
			_, _ = guestConfig(create)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	var seed bytes.Buffer
	archive := tar.NewWriter(&seed)
	for _, header := range []tar.Header{
		{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644}, {Name: "../out", Typeflag: tar.TypeReg},
		{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."},
		{Name: "l/out", Typeflag: tar.TypeReg},
	} {
		header := header
		if err := archive.WriteHeader(&header); err != nil {
			f.Fatal(err)
		}
	}
	_ = archive.Close()
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		outside := t.TempDir()
		inside := filepath.Join(outside, "inside")
		if err := os.Mkdir(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		if len(data) < 1<<20 {
			_ = unpack(inside, bytes.NewReader(data))
		}
		entries, _ := os.ReadDir(outside)
		if len(entries) != 1 {
			t.Fatalf("it got out: %v", entries)
		}
	})
}
