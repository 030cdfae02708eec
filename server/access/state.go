package access

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/laminastore/lamina/internal/reload"
)

// A state is one configuration in use. It does not change; a reload puts another
// in its place.
type state struct {
	*config
	byIssuer map[string]*issuer
	files    *reload.Files
}

// newState keeps those issuers of the state before that are as they were: their
// keys need not be asked for again.
func newState(cfg *config, files *reload.Files, before *state, now func() time.Time) *state {
	s := &state{config: cfg, files: files, byIssuer: make(map[string]*issuer)}
	for _, i := range cfg.issuers {
		if before != nil {
			if old := before.byIssuer[i.issuer]; old != nil && old.issuerConfig == i {
				s.byIssuer[i.issuer] = old
				continue
			}
		}
		s.byIssuer[i.issuer] = newIssuer(i, now)
	}
	return s
}

// certificate is who a connection's client certificate says, or anonymous.
func (s *state) certificate(conn *tls.ConnectionState, now time.Time) (identity, *scopeSet, error) {
	if s.certificates == nil || conn == nil || len(conn.PeerCertificates) == 0 {
		return anonymous, nil, nil
	}
	id, err := s.certificates.identify(conn, now)
	return id, nil, err
}

// still says whether whoever a token of ours was issued to would get one today.
func (s *state) still(id identity) error {
	ok := false
	switch id.Kind {
	case kindAnonymous:
		ok = true
	case kindUser:
		ok = s.users != nil && s.users.hashes[id.Name] != nil
	case kindOIDC:
		ok = s.byIssuer[id.Issuer] != nil
	case kindCertificate:
		ok = s.certificates != nil
	}
	if !ok {
		return fmt.Errorf("%w: whom the token was issued to is not known any more", ErrCredentials)
	}
	return nil
}

// warnings says what is open to everyone, a sentence each.
func (s *state) warnings() []string {
	var out []string
	for _, p := range s.rules.policies {
		if !p.subjects.exact[kindAnonymous] {
			continue
		}
		for _, a := range p.actions {
			for _, r := range p.repositories {
				out = append(out, fmt.Sprintf("whoever reaches this server may %s %s without logging in", verb[a], r.String()))
			}
		}
	}
	for role, set := range s.rules.roles {
		if set.exact[kindAnonymous] {
			out = append(out, fmt.Sprintf("whoever reaches this server has the role %s without logging in", role))
		}
	}
	const most = 20
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("and %d more are open to everyone", len(out)-most))
	}
	return out
}

var verb = map[Action]string{Pull: "pull from", Push: "push to", Delete: "delete in"}
