// The smallest extender: every node passes filter and none is scored. It decodes nothing, so that what it costs is
// kube-scheduler's own encoding and the call itself. For benchmarks; it checks nothing and must not schedule anything real.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "IP:PORT")
	certificate := flag.String("tls-cert", "", "PEM; plain HTTP without")
	key := flag.String("tls-key", "", "PEM")
	callers := flag.String("client-ca", "", "PEM; authority of the callers' certificates")
	flag.Parse()
	http.HandleFunc("/filter", filter)
	http.HandleFunc("/prioritize", prioritize)
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	// HTTP/1.1, as the extender that it is compared with.
	server := &http.Server{Addr: *address, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	if *certificate == "" {
		log.Fatal(server.ListenAndServe())
	}
	authority, err := os.ReadFile(*callers)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	server.TLSConfig = &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}

// filter sends the names back as they came: they stand last in the body, and a pod's labels cannot hold a quote unescaped.
func filter(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	start := bytes.LastIndex(body, []byte(`"NodeNames":`))
	if err != nil || start < 0 {
		http.Error(w, "no names of nodes", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte("{"))
	w.Write(body[start:])
}

func prioritize(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte("[]"))
}
