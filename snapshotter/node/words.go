package node

import (
	"errors"
	"strings"
)

// words splits the arguments of an instruction as a Dockerfile's are: at blanks
// outside of quotes, with the quotes and backslashes taken away. In double quotes
// and outside, $NAME and ${NAME} stand for what env says, and for nothing where
// it does not.
func words(s string, env func(name string) string) ([]string, error) {
	var out []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == '\'' && c != '\'':
			word.WriteByte(c)
		case c == '\\' && i+1 < len(s) && (quote == 0 || strings.IndexByte(`"\$`, s[i+1]) >= 0):
			i++
			word.WriteByte(s[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		case c == '$':
			name, n, err := variable(s[i+1:])
			if err != nil {
				return nil, err
			}
			in = true
			if n == 0 {
				word.WriteByte(c)
				break
			}
			word.WriteString(env(name))
			if word.Len() > maxInstruction {
				return nil, errTooLong
			}
			i += n
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		out = append(out, word.String())
	}
	return out, nil
}

var errTooLong = errors.New("it is too long")

// variable reads NAME or {NAME}, and returns how many bytes that took; 0 when
// there is none.
func variable(s string) (name string, n int, err error) {
	if strings.HasPrefix(s, "{") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", 0, errors.New("${ is not closed")
		}
		name = s[1:end]
		if name == "" || len(name) != nameLength(name) {
			return "", 0, errors.New("only ${NAME} is known of its kind")
		}
		return name, end + 1, nil
	}
	n = nameLength(s)
	return s[:n], n, nil
}

// nameLength is how many bytes of s are the name of a variable.
func nameLength(s string) int {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}
