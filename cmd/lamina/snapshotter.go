package main

import (
	"context"
	"errors"
	"sync"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/node"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

func (a *app) snapshotter() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshotter",
		Short: "Serve containerd's snapshots on a host that runs containers",
		Long: `Keeps the layers of images and of containers of this host for containerd, which is
told of it as of a proxy plugin, and reports to the server what runs here. Containers
start and run while the server is away.`,
		Example: `  lamina snapshotter --server 10.0.0.5:7070`,
		Args:    atMost(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			log, err := a.logger(cmd)
			if err != nil {
				return err
			}
			f := cmd.Flags()
			root, _ := f.GetString("root")
			socket, _ := f.GetString("socket")
			server, _ := f.GetString("server")
			runtime, _ := f.GetString("containerd")
			name, _ := f.GetString("snapshotter-name")
			who := login(cmd, client.DockerHosts(hostname(server))...)
			sn, err := overlay.Open(overlay.Config{Root: root, Log: log})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, sn.Close()) }()
			agent, err := node.New(node.Config{
				Containerd: runtime, Snapshotter: name, Snapshots: sn, Root: root,
				Server: server, Login: who, PlainHTTP: plainHTTP(cmd), Version: buildVersion(), Log: log,
			})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, agent.Close()) }()
			c, err := client.Dial(server, client.Options{Login: who, UserAgent: "lamina-node/" + buildVersion()})
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, stop := context.WithCancel(cmd.Context())
			var reporting sync.WaitGroup
			reporting.Go(func() { agent.Report(ctx, c.Report) })
			defer func() { stop(); reporting.Wait() }()
			return snapshotter.Run(ctx, snapshotter.Config{
				Snapshots: sn, Socket: socket, Log: log,
				Register: []func(*grpc.Server){agent.Register}, Deadlines: node.Deadlines,
			})
		},
	}
	f := cmd.Flags()
	f.String("server", "127.0.0.1:7070", "the server's gRPC `ADDRESS`: HOST:PORT, or https://HOST:PORT")
	addLogin(cmd)
	f.String("root", "/var/lib/lamina-snapshotter", "the `FOLDER` of layers, on a local disk")
	f.String("socket", defaultSocket, "the unix socket `PATH` to listen on")
	f.String("containerd", "/run/containerd/containerd.sock", "containerd's socket `PATH`")
	f.String("snapshotter-name", "lamina", "the `NAME` that containerd's configuration has for this snapshotter")
	f.StringSlice("plain-http", nil, "registries `HOST[:PORT]` to commit to without TLS; loopback always is")
	addLog(cmd)
	return cmd
}
