package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func (a *app) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything back and check it",
		Long: `Has the server read back what is stored, and shows what is bad, by image: bytes that
are not what their digest says, records whose data is gone, manifests whose parts are
gone. What is bad is quarantined: it is not served, and the next push of the same
bytes mends it. Pushes and pulls go on meanwhile.

Broken off, it goes on from there the next time, unless --restart is given. --rate
leaves the bucket to others; --sample reads a part, and --seed says which.

--repair puts back what the store still has another good copy of. --from also gets
what is bad from another place: docker://REF, with the credentials of docker login, or
oci:DIR, oci-archive:FILE. Manifests whose parts are gone are mended by it too.

Exit code 1 means that something bad is left. Data that no record names is shown and
is no failure: collection frees it.

With -o json: {began, ended, repositories, sample, seed, repair, resumed, manifests,
blobs, blobsRead, bytes, flips, damaged, lost, unreadable, partsGone, orphans,
orphanBytes, orphansWaiting, repaired, bad, findings [{kind, subject, repository,
bytes, problem, done, remedy, images [{repository, tags, manifest}], moreImages}],
moreFindings, error}; ended is left out of one that was broken off.`,
		Example: `  lamina verify
  lamina verify --repo 'team/**' --repair --from docker://backup.example.org/team/app:1
  lamina verify --sample 0.05 --seed $(($(date +%s) / 86400 % 20)) --rate 20M      # everything in 20 days`,
		Args: atMost(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runVerify(cmd) },
	}
	addServer(cmd)
	addOutput(cmd)
	f := cmd.Flags()
	f.StringSlice("repo", nil, "only what repositories with these names or `PATTERN`s name, as in team/**")
	f.Float64("sample", 1, "how much of the blobs to read, a `PART` over 0 to 1")
	f.Uint64("seed", 0, "which sample, a `NUMBER`: those of 0 to 1/PART-1 together are everything")
	f.String("rate", "0", "how many `BYTES` a second to read, as in 50M; 0: as fast as it goes")
	f.Bool("repair", false, "put back what is bad from another good copy in the store")
	f.String("from", "", "put back what is bad from this `PLACE` too, as in docker://REF; implies --repair")
	f.Bool("restart", false, "begin anew, not where the last one was broken off")
	f.Bool("last", false, "verify nothing, and show what the last one found, on whichever server")
	f.BoolP("quiet", "q", false, "print nothing but errors")
	return cmd
}

// verifyRequest reads the flags.
func verifyRequest(cmd *cobra.Command) (in *pb.MaintenanceVerifyRequest, from *transfer.Location, err error) {
	f := cmd.Flags()
	in = &pb.MaintenanceVerifyRequest{}
	in.Repositories, _ = f.GetStringSlice("repo")
	in.Repair, _ = f.GetBool("repair")
	in.Restart, _ = f.GetBool("restart")
	in.Seed, _ = f.GetUint64("seed")
	switch part, _ := f.GetFloat64("sample"); {
	case !(part > 0 && part <= 1):
		return nil, nil, usagef("--sample is %v, it must be over 0 and at most 1", part)
	case part < 1:
		in.Sample = part
	}
	rate, _ := f.GetString("rate")
	if in.BytesPerSecond, err = parseBytes(rate); err != nil {
		return nil, nil, usagef("--rate: %w", err)
	}
	if place, _ := f.GetString("from"); place != "" {
		l, err := transfer.ParseLocation(place)
		if err != nil {
			return nil, nil, usagef("--from: %w", err)
		}
		from, in.Repair = &l, true
	}
	return in, from, nil
}

// parseBytes reads a number of bytes, with a decimal unit (k, M, G) or none.
func parseBytes(s string) (int64, error) {
	number, unit := strings.TrimSuffix(s, "B"), int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"k", 1e3}, {"M", 1e6}, {"G", 1e9}} {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n >= 0 && n*float64(unit) < 1<<50) {
		return 0, fmt.Errorf("%.40q is no number of bytes, as in 50M", s)
	}
	return int64(n * float64(unit)), nil
}

func (a *app) runVerify(cmd *cobra.Command) error {
	ctx := cmd.Context()
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	in, from, err := verifyRequest(cmd)
	if err != nil {
		return err
	}
	quiet, _ := cmd.Flags().GetBool("quiet")
	c, err := a.dial(ctx, cmd, "")
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer c.Close()
	p := a.progress(cmd)
	defer p.close()
	v := &verification{out: a.out, json: json, quiet: quiet}
	if last, _ := cmd.Flags().GetBool("last"); last {
		if v.report, err = c.LastVerification(ctx); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if v.report == nil && !json {
			p.say("nothing was verified yet")
			return nil
		}
		v.findings = v.report.GetFindings()
		return v.show(time.Now())
	}
	var source transfer.Source
	if from != nil { // its absence is noticed before anything is read
		if source, err = transfer.Open(ctx, *from, transfer.OpenOptions{PlainHTTP: plainHTTP(cmd)}); err != nil {
			return fmt.Errorf("verify: --from %s: %w", from, err)
		}
		defer source.Close()
	}
	if err := v.run(ctx, c, in, p); err != nil {
		p.close()
		if v.report != nil {
			_ = v.show(time.Now()) // what was found until then; that it is bad is the smaller failure
		}
		return fmt.Errorf("verify: %w", err)
	}
	if source != nil {
		(&mending{c: c, from: source, p: p}).all(ctx, v)
	}
	p.close()
	return v.show(time.Now())
}

// A verification is what was found.
type verification struct {
	out         interface{ Write([]byte) (int, error) }
	json, quiet bool
	report      *pb.VerificationReport
	findings    []*pb.VerificationFinding // at most maxAllFindings
	more        int64
}

func (v *verification) run(ctx context.Context, c *client.Client, in *pb.MaintenanceVerifyRequest, p *progress) (err error) {
	phases := p.phases("read", map[string]string{
		"manifests": "look at repositories and manifests", "blobs": "read blobs", "data": "look for data that no record names",
		"records": "look at other records", "images": "find out in which images what is bad is", "repair": "repair",
	})
	seen := map[string]bool{} // a lost connection may bring one twice
	v.report, err = c.Verify(ctx, in, client.VerificationWatch{
		Progress: phases.at,
		Found: func(f *pb.VerificationFinding) {
			key := f.Kind + " " + f.Subject + " " + f.Repository
			switch {
			case seen[key]:
			case len(v.findings) >= maxAllFindings:
				v.more++
			default:
				seen[key] = true
				v.findings = append(v.findings, f)
			}
		},
	})
	if err == nil {
		phases.end()
	}
	// What was found before it was broken off, too.
	for _, f := range v.report.GetFindings() {
		if key := f.Kind + " " + f.Subject + " " + f.Repository; !seen[key] {
			seen[key] = true
			v.findings = append(v.findings, f)
		}
	}
	return err
}
