package usage

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/opencontainers/go-digest"
)

// A name says that a manifest in a repository names a blob, its own bytes
// included. Sorted by their bytes, names are together by blob, then by realm,
// then by repository.
type name struct {
	digest   digest.Digest
	realm    uint16
	repo     int32 // its place
	image    int32 // the manifest's number
	size     int64
	manifest bool // the blob is the manifest itself
}

// Where what no repository names is kept for: behind all others.
const (
	heldRealm = math.MaxUint16
	heldRepo  = math.MaxInt32
)

// nameTail is what follows the digest: realm, repo, image, size, manifest.
const nameTail = 2 + 4 + 4 + 8 + 1

// algorithms by the number that stands for them; 0 stands for another, whose
// digest is kept as text.
var algorithms = []digest.Algorithm{"", digest.SHA256, digest.SHA512}

// encode appends the name to b, unless there is an error already.
func (n *name) encode(b []byte, err error) ([]byte, error) {
	if err != nil {
		return b, err
	}
	alg, text := byte(0), string(n.digest)
	for i, a := range algorithms {
		if i > 0 && n.digest.Algorithm() == a {
			raw, err := hex.DecodeString(n.digest.Encoded())
			if err != nil {
				return b, fmt.Errorf("digest %s: %w", n.digest, err)
			}
			alg, text = byte(i), string(raw)
		}
	}
	if len(text) > math.MaxUint8 {
		return b, fmt.Errorf("a digest of %d characters", len(text))
	}
	b = append(b, alg, byte(len(text)))
	b = append(b, text...)
	b = binary.BigEndian.AppendUint16(b, n.realm)
	b = binary.BigEndian.AppendUint32(b, uint32(n.repo))
	b = binary.BigEndian.AppendUint32(b, uint32(n.image))
	b = binary.BigEndian.AppendUint64(b, uint64(n.size))
	if n.manifest {
		return append(b, 1), nil
	}
	return append(b, 0), nil
}

// decodeName reads what encode wrote.
func decodeName(b []byte) (name, error) {
	if len(b) < 2 || len(b) != 2+int(b[1])+nameTail || int(b[0]) >= len(algorithms) {
		return name{}, errName
	}
	text, tail := b[2:2+int(b[1])], b[2+int(b[1]):]
	n := name{
		realm: binary.BigEndian.Uint16(tail), repo: int32(binary.BigEndian.Uint32(tail[2:])), image: int32(binary.BigEndian.Uint32(tail[6:])),
		size: int64(binary.BigEndian.Uint64(tail[10:])), manifest: tail[18] == 1,
	}
	if b[0] == 0 {
		n.digest = digest.Digest(text)
	} else {
		n.digest = digest.NewDigestFromEncoded(algorithms[b[0]], hex.EncodeToString(text))
	}
	return n, nil
}
