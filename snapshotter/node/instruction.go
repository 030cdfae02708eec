package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// applyInstructions changes the part of an image's config that says how it is
// run, by instructions as in a Dockerfile. What they do not speak of stays, known
// here or not. Errors: INVALID_ARGUMENT, with the instruction.
func applyInstructions(config json.RawMessage, instructions []string) (map[string]any, error) {
	c := map[string]any{}
	if len(config) > 0 && string(config) != "null" {
		if err := json.Unmarshal(config, &c); err != nil {
			return nil, fmt.Errorf("config of the image: %w", err)
		}
	}
	for _, s := range instructions {
		word, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
		if err := apply(c, strings.ToUpper(word), strings.TrimSpace(rest)); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "instruction %.200q: %v", s, err)
		}
	}
	return c, nil
}

func apply(c map[string]any, word, rest string) error {
	if rest == "" && word != "CMD" && word != "ENTRYPOINT" {
		return fmt.Errorf("nothing comes after %s", word)
	}
	switch word {
	case "CMD", "ENTRYPOINT":
		args, err := command(rest)
		if err != nil {
			return err
		}
		if word == "ENTRYPOINT" {
			c["Entrypoint"] = args
			delete(c, "Cmd") // as in a Dockerfile: it was the other one's arguments
			return nil
		}
		c["Cmd"] = args
	case "WORKDIR":
		if !strings.HasPrefix(rest, "/") {
			return fmt.Errorf("%q is no absolute path", rest)
		}
		c["WorkingDir"] = rest
	case "USER":
		c["User"] = rest
	case "ENV":
		k, v, err := pair(rest)
		if err != nil {
			return err
		}
		var env []any
		if old, ok := c["Env"].([]any); ok {
			env = slices.DeleteFunc(old, func(e any) bool { s, _ := e.(string); return strings.HasPrefix(s, k+"=") })
		}
		c["Env"] = append(env, k+"="+v)
	case "LABEL":
		k, v, err := pair(rest)
		if err != nil {
			return err
		}
		labels, ok := c["Labels"].(map[string]any)
		if !ok {
			labels = map[string]any{}
		}
		labels[k] = v
		c["Labels"] = labels
	case "EXPOSE":
		ports, ok := c["ExposedPorts"].(map[string]any)
		if !ok {
			ports = map[string]any{}
		}
		for p := range strings.FieldsSeq(rest) {
			if !strings.Contains(p, "/") {
				p += "/tcp"
			}
			ports[p] = map[string]any{}
		}
		c["ExposedPorts"] = ports
	default:
		return fmt.Errorf("only CMD, ENTRYPOINT, ENV, WORKDIR, USER, LABEL and EXPOSE can be changed")
	}
	return nil
}

// command reads the exec form, ["a", "b"], or the shell form.
func command(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if !strings.HasPrefix(s, "[") {
		return []string{"/bin/sh", "-c", s}, nil
	}
	var args []string
	if err := json.Unmarshal([]byte(s), &args); err != nil {
		return nil, fmt.Errorf("%q is no JSON list of strings: %w", s, err)
	}
	return args, nil
}

// pair reads KEY=VALUE; the value may be in double quotes.
func pair(s string) (k, v string, err error) {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" || strings.ContainsAny(k, " \"'") {
		return "", "", fmt.Errorf("want KEY=VALUE")
	}
	if n := len(v); n >= 2 && v[0] == '"' && v[n-1] == '"' {
		v = v[1 : n-1]
	}
	return k, v, nil
}
