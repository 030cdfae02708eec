package registry_test

import (
	"strings"
	"testing"
)

func TestTheBaseSaysWhoIsThere(t *testing.T) {
	s := serve(t, nil)
	for _, path := range []string{"/v2/", "/v2"} {
		a := s.do("GET", path, nil).is(200, "Docker-Distribution-API-Version: registry/2.0", "Lamina-Grpc-Port: 7070", "Content-Type: application/json")
		if string(a.body) != "{}" {
			t.Errorf("%s", a.body)
		}
	}
	s.do("HEAD", "/v2/", nil).is(200, "Content-Length: 2")
	s.do("GET", "/v2/_catalog", nil).is(200, "Lamina-Grpc-Port: ")
}

func TestARequestIsOneLineInTheLog(t *testing.T) {
	s := serve(t, nil)
	b := noise(5000, 70)
	d := s.push("demo/app", b)
	s.logged.line(t, "upload-start")
	a := s.do("GET", "/v2/demo/app/blobs/"+string(d), nil, "X-Request-Id: from-a-proxy").is(200, "X-Request-Id: from-a-proxy")
	line := s.logged.line(t, "blob-pull")
	for key, want := range map[string]any{
		"level": "INFO", "method": "GET", "repository": "demo/app", "status": 200., "sent": 5000., "received": 0.,
		"request_id": "from-a-proxy", "subject": string(d),
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if line["duration"] == nil || !strings.HasPrefix(line["remote"].(string), "127.0.0.1:") {
		t.Errorf("%v", line)
	}
	// What is no name gets one.
	seen := map[string]bool{}
	for _, bad := range []string{"", "two words", strings.Repeat("x", 129)} {
		a = s.do("HEAD", "/v2/demo/app/blobs/"+string(d), nil, "X-Request-Id: "+bad).is(200)
		id := a.header.Get("X-Request-Id")
		if line := s.logged.line(t, "blob-pull"); id == bad || id == "" || seen[id] || line["request_id"] != id {
			t.Errorf("%q became %q, and %v in the log", bad, id, line["request_id"])
		}
		seen[id] = true
	}
	s.do("GET", "/v2/demo/app/manifests/none", nil).is(404)
	if line := s.logged.line(t, "manifest-pull"); line["level"] != "INFO" || line["error"] == nil || line["status"] != 404. {
		t.Errorf("%v", line)
	}
}
