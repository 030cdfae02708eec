package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/reference"
)

// defaultServer is where a server listens unless it is told otherwise.
const defaultServer = "localhost:7070"

// addServer gives a command the flags that say where the server is.
func addServer(cmd *cobra.Command) {
	cmd.Flags().String("server", "", "the server's gRPC `ADDRESS`: HOST:PORT, or https://HOST:PORT (default: what the registry in REF says, or localhost:7070)")
	cmd.Flags().StringSlice("plain-http", nil, "registries `HOST[:PORT]` to speak to without TLS; loopback always is")
	addLogin(cmd)
}

// addLogin gives a command the flags that say who calls.
func addLogin(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("token-file", "", "a `FILE` with a token, or NAME:PASSWORD, to show to the server (default: what docker login has kept)")
	f.String("ca", "", "a `FILE` with the authorities whose certificates are believed, in PEM (default: the system's)")
	f.String("cert", "", "a `FILE` with a certificate to show to the server")
	f.String("key", "", "the `FILE` with its key")
}

// login is who calls; what docker login has kept for one of the hosts counts.
func login(cmd *cobra.Command, hosts ...string) *client.Login {
	f := cmd.Flags()
	l := &client.Login{Docker: hosts}
	l.TokenFile, _ = f.GetString("token-file")
	l.CA, _ = f.GetString("ca")
	l.Cert, _ = f.GetString("cert")
	l.Key, _ = f.GetString("key")
	return l
}

func plainHTTP(cmd *cobra.Command) []string {
	hosts, _ := cmd.Flags().GetStringSlice("plain-http")
	return hosts
}

// dial connects to the server behind the registry at host ("": none is named).
// The caller closes the client. Errors: client.ErrNotLamina.
func (a *app) dial(ctx context.Context, cmd *cobra.Command, host string) (*client.Client, error) {
	addr, _ := cmd.Flags().GetString("server")
	who := login(cmd, host)
	switch {
	case addr == "" && host != "":
		var err error
		if addr, err = who.Find(ctx, host, plainHTTP(cmd)); err != nil {
			return nil, err
		}
	case addr == "":
		addr = defaultServer
		who = login(cmd, client.DockerHosts(hostname(addr))...)
	default: // the registry in REF may be another
		who = login(cmd, client.DockerHosts(hostname(addr))...)
	}
	return client.Dial(addr, client.Options{Login: who, UserAgent: "lamina/" + buildVersion()})
}

// hostname is an address without scheme and port.
func hostname(addr string) string {
	addr = strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://")
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}

// image finds the repository that REF names, on a Lamina server.
func (a *app) image(ctx context.Context, cmd *cobra.Command, ref string) (*client.Client, reference.Reference, error) {
	r, err := reference.Parse(ref)
	if err != nil {
		return nil, r, usageError{err}
	}
	c, err := a.dial(ctx, cmd, r.Host)
	return c, r, explainOther(err, r.Host)
}

// explainOther says what can be done about a registry that is not Lamina's.
func explainOther(err error, host string) error {
	if !errors.Is(err, client.ErrNotLamina) {
		return err
	}
	return fmt.Errorf("%s is another registry than Lamina's, which only push and pull can work with (--server says where Lamina is)", host)
}

// splitPrefix takes the host off the beginning of a reference.
func splitPrefix(prefix string) (host, rest string) {
	first, rest, ok := strings.Cut(prefix, "/")
	if first == "localhost" || strings.ContainsAny(first, ".:") && (ok || strings.Contains(first, ":")) {
		return first, rest
	}
	return "", prefix
}

// name is a reference without the host, as lists show it.
func name(r reference.Reference) string {
	r.Host = ""
	return r.String()
}
