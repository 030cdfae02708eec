// Lamina keeps container-image layers in a bucket, and is in this one program
// with every role a subcommand. See `lamina help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker (-X main.version=…); empty means: see what the
// build recorded.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Only the first signal is a request to come to an end; the next one kills.
	context.AfterFunc(ctx, stop)
	a := &app{out: os.Stdout, err: os.Stderr, getenv: os.LookupEnv}
	os.Exit(a.run(ctx, os.Args[1:]))
}
