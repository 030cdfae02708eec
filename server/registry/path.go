package registry

import "strings"

// A resource is a kind of thing that a path of the API can name.
type resource string

const (
	resBase      resource = "base"      // /v2/
	resToken     resource = "token"     // /v2/token
	resCatalog   resource = "catalog"   // /v2/_catalog
	resBlob      resource = "blob"      // /v2/<name>/blobs/<digest>
	resUploads   resource = "uploads"   // /v2/<name>/blobs/uploads/
	resUpload    resource = "upload"    // /v2/<name>/blobs/uploads/<id>
	resManifest  resource = "manifest"  // /v2/<name>/manifests/<tag or digest>
	resTags      resource = "tags"      // /v2/<name>/tags/list
	resReferrers resource = "referrers" // /v2/<name>/referrers/<digest>
)

// A target is what a path names. Neither name nor arg has been checked.
type target struct {
	resource resource
	name     string // the repository
	arg      string // the last segment: digest, tag, id
}

// parsePath finds the target of a path. Repository names have slashes in them
// and may contain any word that the API uses, so it is read from the right:
// "/v2/a/manifests/b/blobs/uploads/" is the uploads of repository "a/manifests/b".
func parsePath(path string) (target, bool) {
	rest, ok := strings.CutPrefix(path, "/v2")
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return target{}, false
	case rest == "" || rest == "/":
		return target{resource: resBase}, true
	case rest == "/token":
		return target{resource: resToken}, true
	case rest == "/_catalog":
		return target{resource: resCatalog}, true
	}
	head, last := cutLast(rest[1:])
	name, word := cutLast(head)
	switch word {
	case "blobs":
		// The specification's path ends with a slash; some clients leave it out.
		if last == "uploads" {
			return target{resUploads, name, ""}, true
		}
		return target{resBlob, name, last}, true
	case "manifests":
		return target{resManifest, name, last}, true
	case "referrers":
		return target{resReferrers, name, last}, true
	case "tags":
		if last == "list" {
			return target{resTags, name, ""}, true
		}
	case "uploads":
		if name, word := cutLast(name); word == "blobs" {
			if last == "" {
				return target{resUploads, name, ""}, true
			}
			return target{resUpload, name, last}, true
		}
	}
	return target{}, false
}

// cutLast splits s at its last slash.
func cutLast(s string) (head, last string) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}
