package images

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
)

var (
	someDigest = digest.FromString("some")
	desc       = fmt.Sprintf(`{"mediaType":"application/x","digest":%q,"size":4}`, someDigest)
	image      = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ocispec.MediaTypeImageManifest, desc, desc)
	index      = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, desc)
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, mediaType, doc string
		want                 string // its media type
	}{
		{"image", ocispec.MediaTypeImageManifest, image, ocispec.MediaTypeImageManifest},
		{"index", ocispec.MediaTypeImageIndex, index, ocispec.MediaTypeImageIndex},
		{"image sent without a type", "", image, ocispec.MediaTypeImageManifest},
		{"image with a parameter to its type", ocispec.MediaTypeImageManifest + "; charset=utf-8", image, ocispec.MediaTypeImageManifest},
		{"Docker image", dockerManifest, strings.Replace(image, ocispec.MediaTypeImageManifest, dockerManifest, 1), dockerManifest},
		{"Docker list", dockerList, strings.Replace(index, ocispec.MediaTypeImageIndex, dockerList, 1), dockerList},
		{"image that says nothing of its type", ocispec.MediaTypeImageManifest, strings.Replace(image, fmt.Sprintf(`"mediaType":%q,`, ocispec.MediaTypeImageManifest), "", 1), ocispec.MediaTypeImageManifest},
		{"neither says anything: image", "", strings.Replace(image, fmt.Sprintf(`"mediaType":%q,`, ocispec.MediaTypeImageManifest), "", 1), ocispec.MediaTypeImageManifest},
		{"neither says anything: index", "", strings.Replace(index, fmt.Sprintf(`"mediaType":%q,`, ocispec.MediaTypeImageIndex), "", 1), ocispec.MediaTypeImageIndex},
		{"unknown fields", "", strings.Replace(image, `{"schema`, `{"x":{"y":[1,2.5,null]},"schema`, 1), ocispec.MediaTypeImageManifest},
		{"layers that are null", "", strings.Replace(image, "["+desc+"]", "null", 1), ocispec.MediaTypeImageManifest},
		{"white space around", "", "\n\t " + image + " \n", ocispec.MediaTypeImageManifest},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(c.mediaType, []byte(c.doc))
			if err != nil || p.mediaType != c.want {
				t.Fatalf("%+v, %v", p, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	replace := func(doc, old, with string) string {
		t.Helper()
		if !strings.Contains(doc, old) {
			t.Fatalf("%q is not in %s", old, doc)
		}
		return strings.Replace(doc, old, with, 1)
	}
	many := strings.Repeat(desc+",", MaxDescriptors) + desc
	for _, c := range []struct {
		name, mediaType, doc, says string
		class                      error
	}{
		{name: "over 4 MiB", doc: image + strings.Repeat(" ", MaxManifestSize), class: blobstore.ErrTooLarge, says: "at most 4194304"},
		{name: "nothing", says: "empty"},
		{name: "no JSON", doc: "hello", says: "no JSON"},
		{name: "cut off", doc: image[:100], says: "no JSON"},
		{name: "no object", doc: "[]", says: "no JSON object"},
		{name: "two values", doc: image + "{}", says: "follows"},
		{name: "not UTF-8", doc: replace(image, "application/x", "application/\xff"), says: "UTF-8"},
		{name: "byte-order mark", doc: "\ufeff" + image, says: "byte-order"},
		{name: "deep nesting", doc: replace(image, `{"schema`, `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,"schema`), says: "nested"},
		{name: "many members", doc: replace(image, `{"schema`, `{"x":[`+strings.Repeat("{},", maxMembers)+`1],"schema`), says: "members"},
		{name: "many keys", doc: replace(image, `"config"`, `"annotations":{`+keys(maxMembers+1)+`},"config"`), says: "members"},
		{name: "a key twice", doc: replace(image, `"config"`, `"layers":[],"config"`), says: `"layers" is given twice`},
		{name: "a key twice, below", doc: replace(image, `"size":4`, `"size":4,"size":5`), says: `"size" is given twice`},
		{name: "schema 1", mediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", doc: `{"schemaVersion":1,"fsLayers":[]}`, says: "schema 1"},
		{name: "schema 1 that does not say so", doc: `{"schemaVersion":1,"fsLayers":[]}`, says: "schema 1"},
		{name: "no schemaVersion", doc: replace(image, `"schemaVersion":2,`, ""), says: "schemaVersion"},
		{name: "schemaVersion 3", doc: replace(image, `"schemaVersion":2`, `"schemaVersion":3`), says: "schemaVersion"},
		{name: "schemaVersion in words", doc: replace(image, `"schemaVersion":2`, `"schemaVersion":"2"`), says: "schemaVersion"},
		{name: "another type", mediaType: ocispec.MediaTypeImageIndex, doc: image, says: "was sent as"},
		{name: "type of something else", mediaType: "text/plain", doc: image, says: `"text/plain" is none`},
		{name: "no type at all", doc: `{"schemaVersion":2}`, says: "is none"},
		{name: "both image and index", doc: replace(image, `"config"`, `"manifests":[],"config"`), says: "as an index has"},
		{name: "both index and image", doc: replace(index, `"manifests"`, `"layers":[],"manifests"`), says: "as an image has"},
		{name: "no config", doc: replace(image, `"config"`, `"Config"`), says: "no config"},
		{name: "no layers", doc: replace(image, `"layers"`, `"Layers"`), says: "no layers"},
		{name: "no manifests", mediaType: ocispec.MediaTypeImageIndex, doc: replace(index, `"manifests"`, `"Manifests"`), says: "no manifests"},
		{name: "layers that are no list", doc: replace(image, "["+desc+"]", desc), says: "layers"},
		{name: "null for a layer", doc: replace(image, "["+desc+"]", "[null]"), says: "layers[0]: it is null"},
		{name: "no digest", doc: replace(index, `"digest"`, `"digezt"`), says: "manifests[0]: it has no digest"},
		{name: "bad digest", doc: replace(index, someDigest.String(), "sha256:12"), says: "invalid digest"},
		{name: "digest of another algorithm", doc: replace(index, someDigest.String(), "sha384:"+strings.Repeat("0", 96)), says: "not supported"},
		{name: "digest with a path in it", doc: replace(index, someDigest.String(), "sha256:../../x"), says: "invalid digest"},
		{name: "no size", doc: replace(image, `,"size":4`, ""), says: "config: " + someDigest.String() + " has no size"},
		{name: "negative size", doc: replace(image, `"size":4`, `"size":-4`), says: "size -4"},
		{name: "fraction of a size", doc: replace(image, `"size":4`, `"size":4.5`), says: "size"},
		{name: "size beyond all bounds", doc: replace(image, `"size":4`, `"size":99999999999999999999`), says: "size"},
		{name: "too many", doc: replace(image, "["+desc+"]", "["+many+"]"), says: "allowed are 10000"},
		{name: "bad subject", doc: replace(image, `"config"`, `"subject":{"digest":"x","size":1},"config"`), says: "subject: "},
		{name: "annotations that are none", doc: replace(image, `"config"`, `"annotations":[1],"config"`), says: "annotations"},
		{name: "long artifactType", doc: replace(image, `"config"`, `"artifactType":"`+strings.Repeat("x", 300)+`","config"`), says: "artifactType"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.class == nil {
				c.class = blobstore.ErrManifestInvalid
			}
			p, err := parse(c.mediaType, []byte(c.doc))
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// keys returns the members of an object.
func keys(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":""`, i)
	}
	return b.String()
}

func TestAcceptChecksTheDigest(t *testing.T) {
	im := &Images{options: Options{MaxManifest: MaxManifestSize, MaxDepth: MaxDepth}}
	_, _, err := im.accept(PutOptions{Bytes: []byte(image), Digest: digest.FromString("another")})
	e, ok := errors.AsType[*blobstore.Error](err)
	if !ok || !errors.Is(err, blobstore.ErrDigestMismatch) || e.Facts["actual"] != digest.FromString(image).String() {
		t.Errorf("%v", err)
	}
	_, _, err = im.accept(PutOptions{Bytes: []byte("{}")})
	if e, ok := errors.AsType[*blobstore.Error](err); !ok || e.Subject != digest.FromString("{}").String() {
		t.Errorf("the error does not name the manifest: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, mediaType := range []string{"", ocispec.MediaTypeImageManifest, dockerList} {
		for _, doc := range []string{image, index, "", "{}", `{"schemaVersion":2,"layers":null,"config":null}`} {
			f.Add(mediaType, []byte(doc))
		}
	}
	f.Fuzz(func(t *testing.T, mediaType string, b []byte) {
		p, err := parse(mediaType, b)
		if err != nil {
			if !errors.Is(err, blobstore.ErrManifestInvalid) && !errors.Is(err, blobstore.ErrTooLarge) {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		if IsManifest(p.mediaType) == IsIndex(p.mediaType) || IsManifest(p.mediaType) != (p.config != nil) {
			t.Fatalf("%+v", p)
		}
		for _, d := range append(append([]ocispec.Descriptor{}, p.layers...), p.manifests...) {
			if d.Digest.Validate() != nil || d.Size < 0 {
				t.Fatalf("descriptor %+v", d)
			}
		}
		again, err := parse(p.mediaType, b)
		if err != nil || again.mediaType != p.mediaType {
			t.Fatalf("it cannot be read as what it is: %v", err)
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	for _, doc := range []string{
		fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]},"history":[{"created":"2026-01-01T00:00:00Z","empty_layer":true}]}`, someDigest),
		"{}", "", `{"rootfs":{"type":"layers","diff_ids":["x"]}}`,
	} {
		f.Add([]byte(doc), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		c, err := parseConfig(b)
		if err != nil {
			return
		}
		for _, d := range c.RootFS.DiffIDs {
			if d.Validate() != nil {
				t.Fatalf("diffID %q", d)
			}
		}
		checkAligned(t, c.History, n&0xff)
		platformName(c.Platform)
	})
}
