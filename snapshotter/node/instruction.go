package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// errInstruction is the class of errors of instructions that cannot be applied.
var errInstruction = errors.New("invalid instruction")

// Limits of instructions; a config is to stay below 4 MiB.
const (
	maxInstructions = 100
	maxInstruction  = 16 << 10 // bytes
)

// applyInstructions changes the part of an image's config that says how it is
// run, by instructions as in a Dockerfile. What they do not speak of stays, known
// here or not. Errors: errInstruction, with the instruction.
func applyInstructions(config json.RawMessage, instructions []string) (map[string]any, error) {
	c := settings{}
	if len(config) > 0 && string(config) != "null" {
		if err := json.Unmarshal(config, &c); err != nil {
			return nil, fmt.Errorf("config of the image: %w", err)
		}
	}
	if len(instructions) > maxInstructions {
		return nil, fmt.Errorf("%w: there are %d, allowed are %d", errInstruction, len(instructions), maxInstructions)
	}
	newCmd := false
	for _, s := range instructions {
		if len(s) > maxInstruction || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("%w %.100q…: it is no text of at most %d bytes", errInstruction, s, maxInstruction)
		}
		word, rest := s, ""
		if i := strings.IndexAny(strings.TrimSpace(s), " \t\n"); i >= 0 {
			word, rest = strings.TrimSpace(s)[:i], strings.TrimSpace(s)[i:]
		}
		word, rest = strings.ToUpper(strings.TrimSpace(word)), strings.TrimSpace(rest)
		if err := c.apply(word, rest); err != nil {
			return nil, fmt.Errorf("%w %.200q: %w", errInstruction, s, err)
		}
		// As in a Dockerfile: the arguments of the image's own entry point are none
		// for another one.
		newCmd = newCmd || word == "CMD"
		if word == "ENTRYPOINT" && !newCmd {
			delete(c, "Cmd")
		}
	}
	return c, nil
}

// settings are the "config" of an image's config.
type settings map[string]any

func (c settings) apply(word, rest string) error {
	switch word {
	case "CMD", "ENTRYPOINT":
		args, err := command(rest)
		if err != nil {
			return err
		}
		c[map[string]string{"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}[word]] = args
		return nil
	case "ENV", "LABEL":
		return c.pairs(word, rest)
	case "WORKDIR", "USER", "EXPOSE":
	default:
		return errors.New("only CMD, ENTRYPOINT, ENV, WORKDIR, USER, LABEL and EXPOSE can be changed")
	}
	args, err := words(rest, c.env)
	switch {
	case err != nil:
		return err
	case len(args) == 0 || args[0] == "":
		return fmt.Errorf("nothing comes after %s", word)
	case word == "EXPOSE":
		return c.expose(args)
	case len(args) > 1:
		return fmt.Errorf("%s takes one argument; put it in quotes", word)
	case word == "USER":
		c["User"] = args[0]
	case word == "WORKDIR":
		dir := args[0]
		if !path.IsAbs(dir) {
			old, _ := c["WorkingDir"].(string)
			dir = path.Join("/", old, dir)
		}
		c["WorkingDir"] = path.Clean(dir)
	}
	return nil
}

// env is the value of a variable of the image.
func (c settings) env(name string) string {
	list, _ := c["Env"].([]any)
	for _, e := range list {
		if s, _ := e.(string); strings.HasPrefix(s, name+"=") {
			return s[len(name)+1:]
		}
	}
	return ""
}

// pairs reads KEY=VALUE …, or the old form of one pair, KEY VALUE.
func (c settings) pairs(word, rest string) error {
	args, err := words(rest, c.env)
	if err != nil {
		return err
	}
	if len(args) > 1 && !strings.Contains(args[0], "=") {
		args = []string{args[0] + "=" + strings.Join(args[1:], " ")}
	}
	if len(args) == 0 {
		return fmt.Errorf("nothing comes after %s", word)
	}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" || strings.ContainsAny(k, " \t\n") {
			return fmt.Errorf("%q is not KEY=VALUE", arg)
		}
		if word == "ENV" {
			c.setEnv(k, v)
			continue
		}
		labels, ok := c["Labels"].(map[string]any)
		if !ok {
			labels = map[string]any{}
		}
		labels[k] = v
		c["Labels"] = labels
	}
	return nil
}

func (c settings) setEnv(k, v string) {
	list, _ := c["Env"].([]any)
	for i, e := range list {
		if s, _ := e.(string); strings.HasPrefix(s, k+"=") {
			list[i] = k + "=" + v
			return
		}
	}
	c["Env"] = append(list, k+"="+v)
}

func (c settings) expose(args []string) error {
	ports, ok := c["ExposedPorts"].(map[string]any)
	if !ok {
		ports = map[string]any{}
	}
	for _, p := range args {
		number, proto, ok := strings.Cut(p, "/")
		if !ok {
			proto = "tcp"
		}
		if number == "" || len(number) > 11 || strings.Trim(number, "0123456789-") != "" || proto != "tcp" && proto != "udp" && proto != "sctp" {
			return fmt.Errorf("%q is not PORT or PORT/PROTOCOL", p)
		}
		ports[number+"/"+proto] = map[string]any{}
	}
	c["ExposedPorts"] = ports
	return nil
}

// command reads the exec form, ["a", "b"], or the shell form.
func command(s string) (any, error) {
	if s == "" {
		return nil, nil
	}
	if !strings.HasPrefix(s, "[") {
		return []any{"/bin/sh", "-c", s}, nil
	}
	var args []string
	if err := json.Unmarshal([]byte(s), &args); err != nil {
		return nil, fmt.Errorf("%q is no JSON list of strings: %w", s, err)
	}
	return args, nil
}
