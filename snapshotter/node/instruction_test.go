package node

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const someConfig = `{"Env":["PATH=/bin","HOME=/root"],"Cmd":["sh"],"Entrypoint":["/init"],"WorkingDir":"/app","Labels":{"a":"1"},"ExposedPorts":{"80/tcp":{}},"OnBuild":["x"],"Custom":{"k":[1]}}`

// An instruction changes what it speaks of, and nothing else.
func TestInstructions(t *testing.T) {
	for _, tt := range []struct {
		instructions []string
		want         string // what differs from someConfig; null for what is gone
	}{
		{nil, `{}`},
		{[]string{`CMD ["node", "index.js"]`}, `{"Cmd":["node","index.js"]}`},
		{[]string{`cmd node index.js | tee "log"`}, `{"Cmd":["/bin/sh","-c","node index.js | tee \"log\""]}`},
		{[]string{"CMD"}, `{"Cmd":null}`},
		{[]string{`ENTRYPOINT ["/run"]`}, `{"Entrypoint":["/run"],"Cmd":null}`},
		{[]string{`CMD ["x"]`, `ENTRYPOINT ["/run"]`}, `{"Entrypoint":["/run"],"Cmd":["x"]}`},
		{[]string{"ENV A=b"}, `{"Env":["PATH=/bin","HOME=/root","A=b"]}`},
		{[]string{"ENV A=1 B=2\tC=\"3 4\" D='5 $A' E=6\\ 7"}, `{"Env":["PATH=/bin","HOME=/root","A=1","B=2","C=3 4","D=5 $A","E=6 7"]}`},
		{[]string{"ENV PATH=/opt:$PATH", `ENV HOME="${HOME}/x" EMPTY=$NONE COST=\$5`}, `{"Env":["PATH=/opt:/bin","HOME=/root/x","EMPTY=","COST=$5"]}`},
		{[]string{"ENV A b c"}, `{"Env":["PATH=/bin","HOME=/root","A=b c"]}`},
		{[]string{"ENV PRICE=5$ X=$1"}, `{"Env":["PATH=/bin","HOME=/root","PRICE=5$","X=$1"]}`},
		{[]string{`LABEL b="two words" a=2`}, `{"Labels":{"a":"2","b":"two words"}}`},
		{[]string{"WORKDIR /srv/../var"}, `{"WorkingDir":"/var"}`},
		{[]string{"WORKDIR sub"}, `{"WorkingDir":"/app/sub"}`},
		{[]string{`WORKDIR "/with blanks"`}, `{"WorkingDir":"/with blanks"}`},
		{[]string{"USER 1000:1000"}, `{"User":"1000:1000"}`},
		{[]string{"EXPOSE 443 53/udp 8000-8010"}, `{"ExposedPorts":{"443/tcp":{},"53/udp":{},"80/tcp":{},"8000-8010/tcp":{}}}`},
		{[]string{"  USER\t www "}, `{"User":"www"}`},
	} {
		got, err := applyInstructions(json.RawMessage(someConfig), tt.instructions)
		if err != nil {
			t.Errorf("%q: %v", tt.instructions, err)
			continue
		}
		var want, differs map[string]any
		unmarshal(t, someConfig, &want)
		unmarshal(t, tt.want, &differs)
		for k, v := range differs {
			want[k] = v
		}
		for k := range got {
			if _, ok := want[k]; !ok {
				want[k] = nil
			}
		}
		for k := range want {
			if g, w := asJSON(t, got[k]), asJSON(t, want[k]); g != w {
				t.Errorf("%q: %s is %s, want %s", tt.instructions, k, g, w)
			}
		}
	}
}

func TestBadInstructions(t *testing.T) {
	for _, instructions := range [][]string{
		{"RUN rm -rf /"}, {""}, {"   "}, {"ENV"}, {"ENV =b"}, {"ENV A"}, {`ENV A="b`}, {"ENV A='b"}, {"ENV A=${B"}, {"ENV A=${B:-c}"},
		{"LABEL x"}, {"WORKDIR"}, {"WORKDIR a b"}, {`USER ""`}, {"USER a b"}, {"EXPOSE"}, {"EXPOSE http"}, {"EXPOSE 80/icmp"},
		{"EXPOSE 80/tcp/x"}, {`CMD ["a"`}, {`CMD [1]`}, {"USER \xff"}, {"USER a\x00"}, {"ENV A=" + strings.Repeat("x", maxInstruction)},
		make([]string, maxInstructions+1),
	} {
		if got, err := applyInstructions(json.RawMessage(someConfig), instructions); !errors.Is(err, errInstruction) {
			t.Errorf("%.50q: %v, %v", instructions, got, err)
		}
	}
	// Each of them doubles it.
	long := []string{"ENV A=" + strings.Repeat("x", 1000)}
	for range 30 {
		long = append(long, "ENV A=$A$A")
	}
	if _, err := applyInstructions(nil, long); !errors.Is(err, errTooLong) {
		t.Errorf("a value that grows: %v", err)
	}
}

// Instructions come from whoever commits.
func FuzzInstructions(f *testing.F) {
	for _, s := range []string{`CMD ["a"]`, "ENV A=$B C=\"${D}\\\"\" 'E'=f", "LABEL a b\\", "WORKDIR ../x", "EXPOSE 1-2/udp", "USER $", "ENTRYPOINT x", "ENV A=${}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := applyInstructions(json.RawMessage(someConfig), []string{s, s})
		if err != nil {
			if !errors.Is(err, errInstruction) {
				t.Fatal(err)
			}
			return
		}
		for _, key := range []string{"OnBuild", "Custom"} {
			if got[key] == nil {
				t.Errorf("%q took %s away", s, key)
			}
		}
		for _, e := range got["Env"].([]any) {
			if k, _, ok := strings.Cut(e.(string), "="); !ok || k == "" {
				t.Errorf("%q gave %q", s, e)
			}
		}
		asJSON(t, got)
	})
}

func unmarshal(t *testing.T, s string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), v); err != nil {
		t.Fatal(err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
