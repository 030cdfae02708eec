package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A slowLink is a network namespace at the other end of a pair of interfaces
// that let through so much and no more, in both directions. What runs in it is
// reached at addr. Needs root.
type slowLink struct {
	namespace string
	outside   string // the interface on this side
	addr      string // IPv4, of the other side
}

// linkRate is what the link lets through, in the words of tc(8). The burst is
// what tbf needs at this rate with a kernel timer of 250 Hz, and the queue takes
// what several connections at once have on their way.
var linkRate = []string{"rate", "1gbit", "burst", "512kb", "latency", "20ms"}

func newSlowLink(ctx context.Context) (*slowLink, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the slow link needs root: run this with sudo, or measure with -stores files")
	}
	pid := os.Getpid()
	l := &slowLink{
		namespace: fmt.Sprintf("lamina-bench-%d", pid),
		outside:   fmt.Sprintf("lb%d", pid),
	}
	net := fmt.Sprintf("10.%d.%d.", 200+pid%50, pid/50%250)
	l.addr = net + "2"
	inside := l.outside + "i"
	tbf := func(dev string) []string {
		return append([]string{"tc", "qdisc", "add", "dev", dev, "root", "tbf"}, linkRate...)
	}
	in := func(args ...string) []string { return append([]string{"ip", "netns", "exec", l.namespace}, args...) }
	for _, args := range [][]string{
		{"ip", "netns", "add", l.namespace},
		{"ip", "link", "add", l.outside, "type", "veth", "peer", "name", inside, "netns", l.namespace},
		{"ip", "addr", "add", net + "1/30", "dev", l.outside},
		{"ip", "link", "set", l.outside, "up"},
		in("ip", "addr", "add", l.addr+"/30", "dev", inside),
		in("ip", "link", "set", inside, "up"),
		in("ip", "link", "set", "lo", "up"),
		tbf(l.outside),
		in(tbf(inside)...),
	} {
		if err := command(ctx, args[0], args[1:]...); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// close takes the namespace away, and with it both interfaces.
func (l *slowLink) close() {
	_ = exec.Command("ip", "link", "del", l.outside).Run()
	_ = exec.Command("ip", "netns", "del", l.namespace).Run()
}

// startMinIO starts MinIO behind the link, on an empty folder.
func (l *slowLink) startMinIO(ctx context.Context, dir string) (*process, error) {
	addr := l.addr + ":9000"
	return spawn(ctx, dir, addr, "http://"+addr+"/minio/health/live",
		[]string{"MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey},
		"ip", strings.Fields("netns exec "+l.namespace+" minio server "+filepath.Join(dir, "data")+" --address "+addr)...)
}
