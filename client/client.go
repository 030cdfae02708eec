// Package client speaks to a Lamina server over gRPC.
//
//	c, err := client.Dial("localhost:7070", client.Options{})
//	…
//	defer c.Close()
//	src, err := transfer.Open(ctx, transfer.Location{Kind: transfer.OCI, Path: "node-app"}, transfer.OpenOptions{})
//	…
//	defer src.Close()
//	_, err = c.Push(ctx, src, "demo/node-app", "1", client.CopyOptions{})
//
// A [Client] carries on by itself: when the connection is lost, the server
// restarts or is busy, calls are repeated, uploads and downloads go on at the
// byte where they stopped. It gives up when nothing has moved for
// Options.Patience. What a server answers on purpose, such as that an image is
// not there, is an [*Error] at once.
//
// All methods may be called from several goroutines at once. The requests and
// answers of package laminav1 (proto/lamina/v1) are used where they say all that
// is to say.
package client

import (
	"crypto/tls"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// Options of a Client; the zero value is usable.
type Options struct {
	// TLS is used when it is set, or when the address begins with https://.
	TLS *tls.Config
	// Login says who calls; nil: nobody.
	Login *Login
	// Patience is how long nothing may move before a call fails: 2 min.
	Patience time.Duration
	// FirstPatience takes its place until the server has answered once, since
	// then the address may be wrong: 2 s.
	FirstPatience time.Duration
	// UserAgent says to the server's log who is calling: "lamina-client".
	UserAgent string
	// Dial are further options of the connection.
	Dial []grpc.DialOption
}

// maxReceive is the largest answer: a manifest and a config of 4 MiB each.
const maxReceive = 16 << 20

// A Client is a connection to a server, or to any of several behind one address.
type Client struct {
	conn      *grpc.ClientConn
	addr      string
	options   Options
	contacted atomic.Bool // the server has answered

	blobs       pb.BlobsClient
	images      pb.ImagesClient
	snapshots   pb.SnapshotsClient
	usage       pb.UsageClient
	maintenance pb.MaintenanceClient
}

// Dial makes a client of the server at addr: HOST:PORT, https://HOST[:PORT]
// where TLS is spoken, or unix:PATH. It connects with the first call. The caller
// closes it.
func Dial(addr string, o Options) (*Client, error) {
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.FirstPatience == 0 {
		o.FirstPatience = 2 * time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "lamina-client"
	}
	target := addr
	switch rest, isTLS := strings.CutPrefix(addr, "https://"); {
	case isTLS:
		target = strings.TrimSuffix(rest, "/")
		if o.TLS == nil {
			o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if !strings.Contains(target[strings.LastIndexByte(target, ']')+1:], ":") {
			target += ":443"
		}
	default:
		target = strings.TrimSuffix(strings.TrimPrefix(addr, "http://"), "/")
	}
	if o.TLS == nil && o.Login.AsksTLS() && !strings.HasPrefix(addr, "http://") && !strings.HasPrefix(addr, "unix:") {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	secret := secretWay(target, o.TLS != nil)
	if err := o.Login.checkWay(target, secret); err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		if _, err := o.Login.TLS(o.TLS); err != nil { // said now, and not by the first call
			return nil, err
		}
		creds = renewedTLS{o.Login, o.TLS}
	}
	if o.Login != nil {
		o.Dial = append([]grpc.DialOption{grpc.WithPerRPCCredentials(perRPC{o.Login, secret})}, o.Dial...)
	}
	opts := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithUserAgent(o.UserAgent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		// A server that is gone without a word is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// Whether to try again is decided here, by whoever waits; gRPC's own
		// pauses of up to two minutes would come on top.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 10 * time.Second,
		}),
		grpc.WithDisableRetry(),
	}, o.Dial...)
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", addr, err)
	}
	return &Client{
		conn: conn, addr: addr, options: o,
		blobs: pb.NewBlobsClient(conn), images: pb.NewImagesClient(conn),
		snapshots: pb.NewSnapshotsClient(conn), usage: pb.NewUsageClient(conn),
		maintenance: pb.NewMaintenanceClient(conn),
	}, nil
}

// Close ends the connection and all calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// Addr is the address that was dialled.
func (c *Client) Addr() string { return c.addr }
