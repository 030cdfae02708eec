package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/snapshotter"
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
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			log, err := a.logger(cmd)
			if err != nil {
				return err
			}
			root, _ := cmd.Flags().GetString("root")
			socket, _ := cmd.Flags().GetString("socket")
			sn, err := overlay.Open(overlay.Config{Root: root})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, sn.Close()) }()
			return snapshotter.Run(cmd.Context(), snapshotter.Config{Snapshots: sn, Socket: socket, Log: log})
		},
	}
	f := cmd.Flags()
	f.String("server", "127.0.0.1:7070", "the server's gRPC `ADDRESS`")
	f.String("root", "/var/lib/lamina-snapshotter", "the `FOLDER` of layers, on a local disk")
	f.String("socket", defaultSocket, "the unix socket `PATH` to listen on")
	addLog(cmd)
	return cmd
}
