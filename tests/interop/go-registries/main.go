// A registry of others on a port of 127.0.0.1 that the system chooses, whose address is
// printed:
//
//	registries ggcr    of go-containerregistry, as crane serves it, with referrers
//	registries cue     of cuelabs.dev/go/oci
//
// All is kept in memory.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	var handler http.Handler
	switch os.Args[1] {
	case "ggcr":
		handler = registry.New(registry.WithReferrersSupport(true),
			registry.Logger(log.New(io.Discard, "", 0)))
	case "cue":
		handler = ociserver.New(ocimem.New(), nil)
	default:
		log.Fatalf("no registry '%s'", os.Args[1])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, handler))
}
