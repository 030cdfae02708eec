package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/laminastore/lamina/internal/reload"
	"github.com/laminastore/lamina/internal/tomlfile"
	"github.com/laminastore/lamina/reference/pattern"
)

// What the configuration leaves out.
const (
	defaultLifetime = 5 * time.Minute
	maxLifetime     = time.Hour
	defaultService  = "lamina"
	defaultSubject  = "sub"
)

var (
	serviceRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:_-]{0,127}$`)
	nodeIDRE  = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`) // as package fleet has it
)

// A config is a configuration that has been checked, with all that its files
// said. It does not change.
type config struct {
	users        *users // nil without [users]
	lifetime     time.Duration
	service      string
	realm        string // "" for the host that was asked
	issuers      []issuerConfig
	certificates *certificates // nil without [certificates]
	rules        rules
}

// A loader reads one configuration and the files that it names.
type loader struct {
	*tomlfile.Source
	dir   string
	files *reload.Files
	cfg   *config
}

// loadConfig reads the configuration in file. files remembers what was read.
// Errors: ErrConfig.
func loadConfig(file string, files *reload.Files) (*config, error) {
	text, err := files.Read(file, maxConfigSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	f, src, err := decode(file, text)
	if err != nil {
		return nil, err
	}
	l := &loader{Source: src, dir: filepath.Dir(file), files: files, cfg: &config{}}
	l.check(f)
	if err := l.problems(); err != nil {
		return nil, err
	}
	return l.cfg, nil
}

// problems is all that is wrong; nil when that is nothing.
func (l *loader) problems() error {
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// check works out what the file says. What others refer to comes first.
func (l *loader) check(f *configFile) {
	l.users(f)
	l.tokens(f)
	l.issuers(f)
	l.certificates(f)
	l.groups(f)
	l.policies(f)
	l.roles(f)
}

// read reads a file that the configuration names, relative to its own folder.
func (l *loader) read(path, name string, limit int64) ([]byte, string, bool) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(l.dir, name)
	}
	data, err := l.files.Read(name, limit)
	if err != nil {
		l.Fail(path, "%w", err)
	}
	return data, name, err == nil
}

func (l *loader) users(f *configFile) {
	if f.Users == nil {
		return
	}
	if f.Users.Htpasswd == "" {
		l.Fail("users", "htpasswd, the name of the file of users, is missing")
		return
	}
	text, name, ok := l.read("users.htpasswd", f.Users.Htpasswd, maxHtpasswdSize)
	if !ok {
		return
	}
	u, err := parseHtpasswd(name, text)
	if err != nil {
		l.Add(err)
		return
	}
	l.cfg.users = u
}

func (l *loader) tokens(f *configFile) {
	t := f.Tokens
	l.cfg.lifetime, l.cfg.service, l.cfg.realm = defaultLifetime, defaultService, t.Realm
	if t.Lifetime != "" {
		d, err := time.ParseDuration(t.Lifetime)
		if err != nil || d < time.Minute || d > maxLifetime {
			l.Fail("tokens.lifetime", "%.32q is no time from 1m to 1h", t.Lifetime)
		}
		l.cfg.lifetime = d
	}
	if t.Service != "" {
		if !serviceRE.MatchString(t.Service) {
			l.Fail("tokens.service", "%.64q: use up to 128 letters, digits and . : _ -", t.Service)
		}
		l.cfg.service = t.Service
	}
	if t.Realm != "" {
		u, err := url.Parse(t.Realm)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.ContainsAny(t.Realm, `"\ `) {
			l.Fail("tokens.realm", "%.64q is no URL such as https://registry.example.org/v2/token", t.Realm)
		}
	}
}

func (l *loader) certificates(f *configFile) {
	c := f.Certificates
	if c == nil {
		return
	}
	if c.CA == "" {
		l.Fail("certificates", "ca, the file of the authorities whose certificates are accepted, is missing")
		return
	}
	data, _, ok := l.read("certificates.ca", c.CA, maxConfigSize)
	if !ok {
		return
	}
	out := &certificates{pool: x509.NewCertPool(), subject: c.Subject}
	if !out.pool.AppendCertsFromPEM(data) {
		l.Fail("certificates.ca", "%s has no certificate in PEM", c.CA)
	}
	if out.subject == "" {
		out.subject = subjectCN
	}
	if !slices.Contains(certificateSubjects, out.subject) {
		l.Fail("certificates.subject", "%.32q is none of %s", c.Subject, strings.Join(certificateSubjects, ", "))
	}
	if c.Nodes != "" {
		if strings.Count(c.Nodes, "*") != 1 {
			l.Fail("certificates.nodes", `%.64q needs exactly one *, which stands for the node's id, as in "*.nodes.example.org"`, c.Nodes)
		}
		l.cfg.rules.nodes = c.Nodes
	}
	l.cfg.certificates = out
}

// list checks the length of a list.
func list[T any](l *loader, path string, values []T, min, max int) bool {
	switch {
	case len(values) < min:
		l.Fail(path, "it is empty or missing")
	case len(values) > max:
		l.Fail(path, "it has %d entries, allowed are %d", len(values), max)
	default:
		return true
	}
	return false
}

func (l *loader) subjects(path string, texts []string) (s subjectSet) {
	if !list(l, path, texts, 1, maxList) {
		return s
	}
	for _, text := range texts {
		if err := s.add(text); err != nil {
			l.Fail(path, "%w", err)
		}
	}
	for _, g := range s.groups() {
		if l.cfg.rules.groups[g] == nil && !slices.ContainsFunc(l.cfg.issuers, func(i issuerConfig) bool { return i.groups != "" }) {
			l.Fail(path, "group %.64q is not in [groups], and no issuer says who is in it", g)
		}
	}
	return s
}

func (l *loader) groups(f *configFile) {
	l.cfg.rules.groups = make(map[string]*subjectSet)
	if len(f.Groups) > maxTables {
		l.Fail("groups", "it has %d groups, allowed are %d", len(f.Groups), maxTables)
		return
	}
	for name, texts := range f.Groups {
		path := "groups." + name
		if err := checkName(name); err != nil || strings.Contains(name, "*") {
			l.Fail(path, "%w", errors.Join(err, errors.New("a group's name has no * and no spaces")))
		}
		if !list(l, path, texts, 0, maxList) {
			continue
		}
		s := &subjectSet{}
		for _, text := range texts {
			err := s.add(text)
			if kind, _, _ := strings.Cut(text, ":"); err == nil && (kind == kindGroup || kind == kindAnonymous || kind == kindAuthenticated) {
				err = fmt.Errorf("subject %.64q: a group has users, oidc, cert and node subjects only", text)
			}
			if err != nil {
				l.Fail(path, "%w", err)
			}
		}
		l.cfg.rules.groups[name] = s
	}
}

func (l *loader) policies(f *configFile) {
	if a := f.Anonymous; a != nil {
		p := &policy{}
		_ = p.subjects.add(kindAnonymous)
		p.repositories = l.patterns("anonymous.repositories", a.Repositories)
		actions := a.Actions
		if actions == nil {
			actions = []string{string(Pull)}
		}
		p.actions = l.actions("anonymous.actions", actions)
		l.cfg.rules.policies = append(l.cfg.rules.policies, p)
	}
	if !list(l, "policies", f.Policies, 0, maxTables) {
		return
	}
	for i, x := range f.Policies {
		path := fmt.Sprintf("policies[%d].", i)
		l.cfg.rules.policies = append(l.cfg.rules.policies, &policy{
			subjects:     l.subjects(path+"subjects", x.Subjects),
			repositories: l.patterns(path+"repositories", x.Repositories),
			actions:      l.actions(path+"actions", x.Actions),
		})
	}
}

func (l *loader) patterns(path string, texts []string) (out []pattern.Pattern) {
	if !list(l, path, texts, 1, maxList) {
		return nil
	}
	for _, text := range texts {
		p, err := pattern.Parse(text)
		if err != nil {
			l.Fail(path, "%w", err)
		}
		out = append(out, p)
	}
	return out
}

func (l *loader) actions(path string, texts []string) (out []Action) {
	if !list(l, path, texts, 1, maxList) {
		return nil
	}
	for _, text := range texts {
		switch a := Action(text); a {
		case Pull, Push, Delete:
			out = append(out, a)
		default:
			l.Fail(path, "%.32q is none of pull, push, delete", text)
		}
	}
	return out
}

func (l *loader) roles(f *configFile) {
	l.cfg.rules.roles = make(map[Role]*subjectSet)
	if !list(l, "roles", f.Roles, 0, maxTables) {
		return
	}
	for i, x := range f.Roles {
		path := fmt.Sprintf("roles[%d].", i)
		role := Role(x.Role)
		if role != Node && role != Operator {
			l.Fail(path+"role", "%.32q is neither node nor operator", x.Role)
			continue
		}
		s := l.subjects(path+"subjects", x.Subjects)
		if was := l.cfg.rules.roles[role]; was != nil {
			was.merge(s)
			continue
		}
		l.cfg.rules.roles[role] = &s
	}
}
