package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/blobstore/verify"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// The classes of error of runs.
var (
	errMaintenanceBusy = errors.New("this server does that already")
	errStopping        = errors.New("server stops")
)

type maintenance struct {
	pb.UnimplementedMaintenanceServer
	collector *collect.Collector
	verifier  *verify.Verifier
	idle      time.Duration
	streams   *sync.WaitGroup
	stop      chan struct{} // closed when the server stops
	stopOnce  func()        // closes it

	collecting, verifying sync.Mutex // held by the run that somebody has asked for
}

func newMaintenance(s Services, idle time.Duration, streams *sync.WaitGroup) *maintenance {
	m := &maintenance{collector: s.Collector, verifier: s.Verifier, idle: idle, streams: streams, stop: make(chan struct{})}
	m.stopOnce = sync.OnceFunc(func() { close(m.stop) })
	return m
}

// alone lets one run in. The caller unlocks.
func alone(m *sync.Mutex, what string) error {
	if m.TryLock() {
		return nil
	}
	return &blobstore.Error{
		Class: errMaintenanceBusy, Subject: what, Detail: "somebody else has asked for it",
		Remedy: "wait until that is done, or ask another server",
	}
}

// maxFindings is how many findings of a collection go in one message.
const maxFindings = 500

func (s *maintenance) Collect(in *pb.MaintenanceCollectRequest, stream grpc.ServerStreamingServer[pb.MaintenanceCollectResponse]) error {
	if err := alone(&s.collecting, "collection"); err != nil {
		return err
	}
	f := newFeed(stream, s.idle, func(p *pb.MaintenanceProgress) *pb.MaintenanceCollectResponse {
		return &pb.MaintenanceCollectResponse{Message: &pb.MaintenanceCollectResponse_Progress{Progress: p}}
	})
	var found []*pb.CollectionFinding
	batch := func() *pb.MaintenanceCollectResponse {
		if len(found) == 0 {
			return nil
		}
		m := &pb.MaintenanceCollectResponse_Findings{Findings: &pb.CollectionFindings{Findings: found}}
		found = nil
		return &pb.MaintenanceCollectResponse{Message: m}
	}
	f.waiting = append(f.waiting, batch)
	o := collect.RunOptions{
		DryRun: in.DryRun, Full: in.Full,
		Progress: func(p collect.Progress) {
			f.progress(&pb.MaintenanceProgress{Phase: p.Phase, Done: p.Done, Total: p.Total, Bytes: p.Bytes})
		},
	}
	if in.Findings {
		o.Each = func(x collect.Finding) {
			f.mu.Lock()
			defer f.mu.Unlock()
			found = append(found, collectionFinding(x))
			if len(found) == maxFindings {
				f.write(batch())
			}
		}
	}
	return f.run(stream.Context(), s.streams, s.stop, func(ctx context.Context) error {
		defer s.collecting.Unlock()
		report, err := s.collector.Run(ctx, o)
		if !report.Began.IsZero() {
			f.send(&pb.MaintenanceCollectResponse{Message: &pb.MaintenanceCollectResponse_Report{Report: collectionReport(report)}})
		}
		return told(err)
	})
}

// told is the error of a run as its caller gets it: what cannot be read is damaged
// data, not something wrong with the call.
func told(err error) error {
	if errors.Is(err, blobstore.ErrManifestInvalid) || errors.Is(err, record.ErrInvalid) {
		return &blobstore.Error{Class: blobstore.ErrCorrupt, Err: err}
	}
	return err
}

func (s *maintenance) LastCollection(ctx context.Context, _ *pb.MaintenanceLastCollectionRequest) (*pb.MaintenanceLastCollectionResponse, error) {
	report, ok, err := s.collector.Last(ctx)
	if err != nil || !ok {
		return &pb.MaintenanceLastCollectionResponse{}, err
	}
	return &pb.MaintenanceLastCollectionResponse{Report: collectionReport(report)}, nil
}

// maxPatterns is how many patterns of repositories one verification takes.
const maxPatterns = 100

func (s *maintenance) Verify(in *pb.MaintenanceVerifyRequest, stream grpc.ServerStreamingServer[pb.MaintenanceVerifyResponse]) error {
	if len(in.Repositories) > maxPatterns {
		return argument("repositories", "%d patterns, at most %d", len(in.Repositories), maxPatterns)
	}
	if err := alone(&s.verifying, "verification"); err != nil {
		return err
	}
	f := newFeed(stream, s.idle, func(p *pb.MaintenanceProgress) *pb.MaintenanceVerifyResponse {
		return &pb.MaintenanceVerifyResponse{Message: &pb.MaintenanceVerifyResponse_Progress{Progress: p}}
	})
	o := verify.RunOptions{
		Repositories: in.Repositories, Sample: in.Sample, Seed: in.Seed, Rate: in.BytesPerSecond,
		Repair: in.Repair, Restart: in.Restart,
		Progress: func(p verify.Progress) {
			f.progress(&pb.MaintenanceProgress{
				Phase: p.Phase, Done: p.Done, Total: p.Total, Bytes: p.Bytes, TotalBytes: p.TotalBytes, Bad: p.Bad,
			})
		},
		Each: func(x verify.Finding) {
			f.send(&pb.MaintenanceVerifyResponse{Message: &pb.MaintenanceVerifyResponse_Finding{Finding: verificationFinding(x)}})
		},
	}
	return f.run(stream.Context(), s.streams, s.stop, func(ctx context.Context) error {
		defer s.verifying.Unlock()
		report, err := s.verifier.Run(ctx, o)
		if !report.Began.IsZero() {
			out := verificationReport(report)
			if err != nil {
				out.Error = clip(err.Error(), maxMessage)
			}
			f.send(&pb.MaintenanceVerifyResponse{Message: &pb.MaintenanceVerifyResponse_Report{Report: out}})
		}
		if errors.Is(err, verify.ErrInvalid) {
			return fmt.Errorf("%w: %w", errArgument, err)
		}
		return told(err)
	})
}

func (s *maintenance) LastVerification(ctx context.Context, _ *pb.MaintenanceLastVerificationRequest) (*pb.MaintenanceLastVerificationResponse, error) {
	report, ok, err := s.verifier.Last(ctx)
	if err != nil || !ok {
		return &pb.MaintenanceLastVerificationResponse{}, err
	}
	return &pb.MaintenanceLastVerificationResponse{Report: verificationReport(report)}, nil
}
