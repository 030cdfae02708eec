package access

import (
	"fmt"

	"github.com/laminastore/lamina/internal/tomlfile"
)

// Limits of the configuration.
const (
	maxConfigSize = 1 << 20 // bytes
	maxTables     = 500     // policies, roles, groups, issuers: of each
	maxList       = 1000    // entries in one list
)

// A configFile is the file as it is written. Pointers are tables that may be
// left out.
type configFile struct {
	Anonymous *struct {
		Repositories []string `toml:"repositories"`
		Actions      []string `toml:"actions"`
	} `toml:"anonymous"`
	Users *struct {
		Htpasswd string `toml:"htpasswd"`
	} `toml:"users"`
	Tokens struct {
		Lifetime string `toml:"lifetime"`
		Service  string `toml:"service"`
		Realm    string `toml:"realm"`
	} `toml:"tokens"`
	Issuers []struct {
		Issuer      string `toml:"issuer"`
		Audience    string `toml:"audience"`
		JWKS        string `toml:"jwks"`
		CA          string `toml:"ca"`
		Subject     string `toml:"subject"`
		Groups      string `toml:"groups"`
		GroupPrefix string `toml:"group-prefix"`
	} `toml:"issuers"`
	Certificates *struct {
		CA      string `toml:"ca"`
		Subject string `toml:"subject"`
		Nodes   string `toml:"nodes"`
	} `toml:"certificates"`
	Groups   map[string][]string `toml:"groups"`
	Policies []struct {
		Subjects     []string `toml:"subjects"`
		Repositories []string `toml:"repositories"`
		Actions      []string `toml:"actions"`
	} `toml:"policies"`
	Roles []struct {
		Role     string   `toml:"role"`
		Subjects []string `toml:"subjects"`
	} `toml:"roles"`
}

// decode reads the text of the file called name. Keys that are not known are
// errors: one that is mistyped would leave out what it was to say.
func decode(name string, text []byte) (*configFile, *tomlfile.Source, error) {
	var f configFile
	src, err := tomlfile.Decode(name, text, &f, "docs/access.md")
	if err == nil {
		err = src.Err()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &f, src, nil
}
