// Package systemd tells the service manager how a service is doing
// (sd_notify(3)), so that what is ordered after it starts when it is ready.
package systemd

import (
	"net"
	"os"
)

// What a service says of itself.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// Notify sends state to the service manager. Without one, which is to say
// without NOTIFY_SOCKET in the environment, it does nothing.
func Notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	// net writes a leading @ as the zero byte of an abstract name.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
