package rpc

import (
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/verify"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// maxWords is how many bytes of a sentence about one thing are sent.
const maxWords = 2000

func collectionFinding(x collect.Finding) *pb.CollectionFinding {
	return &pb.CollectionFinding{
		Kind: x.Kind, Subject: clip(x.Subject, maxWords), Repository: x.Repository, Step: string(x.Step),
		Why: clip(x.Why, maxWords), Bytes: x.Bytes, NextAt: timestamp(x.Next),
	}
}

func collectionReport(r collect.Report) *pb.CollectionReport {
	out := &pb.CollectionReport{
		BeganAt: timestamp(r.Began), EndedAt: timestamp(r.Ended), DryRun: r.DryRun, Full: r.Full, Holder: r.Holder,
		Named: r.Named, Manifests: r.Manifests, Marked: r.Marked, Listed: r.Listed,
		Condemned: r.Condemned, Collected: r.Collected, Revived: r.Revived,
		FreedObjects: r.FreedObjects, FreedBytes: r.FreedBytes,
		WaitingBytes: r.WaitingBytes, WaitingUntil: timestamp(r.WaitingUntil),
		Uploads: r.Uploads, Links: r.Links, Records: r.Records, Orphans: r.Orphans, Nodes: r.Nodes,
		TagsRemoved: r.TagsRemoved, ManifestsRemoved: r.ManifestsRemoved,
		ProblemsTotal: r.ProblemsTotal, Error: clip(r.Error, maxWords),
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, &pb.MaintenanceProblem{
			Subject: clip(p.Subject, maxWords), Repository: p.Repository, Detail: clip(p.Detail, maxWords),
		})
	}
	return out
}

func verificationFinding(x verify.Finding) *pb.VerificationFinding {
	out := &pb.VerificationFinding{
		Kind: string(x.Kind), Subject: clip(x.Subject, maxWords), Repository: string(x.Repository), Bytes: x.Bytes,
		Problem: clip(x.Problem, maxWords), Done: x.Done, Remedy: clip(x.Remedy, maxWords), ImagesTotal: x.ImagesTotal,
	}
	for _, i := range x.Images {
		image := &pb.AffectedImage{Repository: string(i.Repository), Manifest: string(i.Manifest)}
		for _, t := range i.Tags {
			image.Tags = append(image.Tags, string(t))
		}
		out.Images = append(out.Images, image)
	}
	return out
}

func verificationReport(r verify.Report) *pb.VerificationReport {
	out := &pb.VerificationReport{
		BeganAt: timestamp(r.Began), EndedAt: timestamp(r.Ended), Repositories: r.Repositories, Sample: r.Sample, Seed: r.Seed,
		Repair: r.Repair, Resumed: r.Resumed, Manifests: r.Manifests, Blobs: r.Blobs, BlobsRead: r.Read, Bytes: r.Bytes,
		Flips: r.Flips, Damaged: r.Damaged, Lost: r.Lost, Unreadable: r.Unreadable, PartsGone: r.PartsGone,
		Orphans: r.Orphans, OrphanBytes: r.OrphanBytes, OrphansWaiting: r.Waiting, Repaired: r.Repaired, Bad: r.Bad,
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, verificationFinding(f))
	}
	return out
}
