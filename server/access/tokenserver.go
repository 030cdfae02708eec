package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxTokenQuery = 16 << 10 // bytes
	maxTokenForm  = 64 << 10 // bytes; it may have a token in it
)

var errTokenRequest = errors.New("request for a token cannot be read")

// A tokenAnswer is what a client gets, in the words of Docker's GET and of
// OAuth2's POST.
type tokenAnswer struct {
	Token       string `json:"token,omitempty"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
	IssuedAt    string `json:"issued_at"`
	Scope       string `json:"scope,omitempty"`
	TokenType   string `json:"token_type,omitempty"`
}

// ServeToken answers GET and POST of TokenPath: the Docker token protocol
// (distribution's "Token Authentication Specification", and its OAuth2 variant).
//
// Whoever asks gets a token for that part of the scopes which the policies give
// it, which may be nothing: what is refused is told when the token is used. It
// is refused with 401 only when it shows credentials that are wrong. Refresh
// tokens are not issued; in place of one, a token of an issuer is accepted.
func (c *Control) ServeToken(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if c.open {
		tokenError(w, r, http.StatusNotFound, "UNSUPPORTED", "no tokens are needed here: everything is open")
		return
	}
	s := c.state.Load()
	var id identity
	var scopes []Scope
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		id, scopes, err = c.tokenByGet(r, s)
	case http.MethodPost:
		id, scopes, err = c.tokenByPost(w, r, s)
	default:
		h.Set("Allow", "GET, HEAD, POST")
		tokenError(w, r, http.StatusMethodNotAllowed, "UNSUPPORTED", "use GET or POST")
		return
	}
	var answer *tokenAnswer
	if err == nil {
		answer, err = c.issue(r, s, id, scopes)
	}
	if err != nil {
		c.refuseToken(w, r, err)
		return
	}
	if r.Method == http.MethodPost {
		answer.Token, answer.TokenType = "", "bearer"
	} else {
		answer.Scope = ""
	}
	writeJSON(w, r, http.StatusOK, answer)
}

// issue makes the token.
func (c *Control) issue(r *http.Request, s *state, id identity, asked []Scope) (*tokenAnswer, error) {
	caller := s.rules.caller(id, nil)
	var given []Scope
	var texts []string
	for _, x := range asked {
		if x = caller.allowed(x); len(x.Actions) > 0 {
			given = append(given, x)
			texts = append(texts, x.String())
		}
	}
	// Of an issuer's groups, those that mean nothing here need not travel.
	var groups []string
	for _, g := range id.Groups {
		if s.rules.mentions(g) {
			groups = append(groups, g)
		}
	}
	id.Groups = groups
	token, issued, err := c.tokens.make(r.Context(), s.config, id, given)
	if err != nil {
		return nil, err
	}
	return &tokenAnswer{
		Token: token, AccessToken: token, Scope: strings.Join(texts, " "),
		ExpiresIn: int64(s.lifetime / time.Second), IssuedAt: issued.Format(time.RFC3339),
	}, nil
}

// tokenByGet reads a request whose credentials are in a header, or are a client
// certificate, or none.
func (c *Control) tokenByGet(r *http.Request, s *state) (identity, []Scope, error) {
	if len(r.URL.RawQuery) > maxTokenQuery {
		return identity{}, nil, fmt.Errorf("%w: its query has more than %d bytes", errTokenRequest, maxTokenQuery)
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return identity{}, nil, fmt.Errorf("%w: its query is no query", errTokenRequest)
	}
	scopes, err := parseScopes(q["scope"])
	if err != nil {
		return identity{}, nil, err
	}
	id, _, err := c.identity(r.Context(), s, credentialsOf(r), false)
	return id, scopes, err
}

// tokenByPost reads a request that has its credentials in a form.
func (c *Control) tokenByPost(w http.ResponseWriter, r *http.Request, s *state) (identity, []Scope, error) {
	fail := func(format string, args ...any) (identity, []Scope, error) {
		return identity{}, nil, fmt.Errorf("%w: %s", errTokenRequest, fmt.Sprintf(format, args...))
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return fail("its body must be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxTokenForm)
	if err := r.ParseForm(); err != nil {
		return fail("its form cannot be read, or has more than %d bytes", maxTokenForm)
	}
	f := r.PostForm
	scopes, err := parseScopes(f["scope"])
	if err != nil {
		return identity{}, nil, err
	}
	switch f.Get("grant_type") {
	case "password":
		id, err := c.password(r.Context(), s, f.Get("username"), f.Get("password"))
		return id, scopes, err
	case "refresh_token":
		id, _, err := c.bearer(r.Context(), s, f.Get("refresh_token"), false)
		return id, scopes, err
	}
	return fail("grant_type is neither password nor refresh_token")
}

func credentialsOf(r *http.Request) Credentials {
	cr := Credentials{Authorization: r.Header.Get("Authorization"), TLS: r.TLS}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		cr.Remote = at.Addr()
	}
	return cr
}

// refuseToken says why there is no token.
func (c *Control) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errScope), errors.Is(err, errTokenRequest):
		tokenError(w, r, http.StatusBadRequest, "UNSUPPORTED", err.Error())
	case errors.Is(err, ErrCredentials):
		c.logRefusal(r.Context(), credentialsOf(r), err)
		w.Header().Set("WWW-Authenticate", basicChallenge)
		tokenError(w, r, http.StatusUnauthorized, "UNAUTHORIZED", err.Error())
	default:
		c.logRefusal(r.Context(), credentialsOf(r), err)
		w.Header().Set("Retry-After", "2")
		tokenError(w, r, http.StatusServiceUnavailable, "UNAVAILABLE", ErrUnavailable.Error()+": try again in a few seconds")
	}
}

// tokenError answers with the one form of error that clients of registries know.
func tokenError(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	writeJSON(w, r, status, map[string][]entry{"errors": {{code, message}}})
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // cannot happen: strings and numbers only
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
