// Package faults has tests in which things break for real: the network between
// a server and its bucket, the bucket, the disk, and the servers themselves,
// while clients push and pull. Servers and clients are processes of their own;
// in the end every push that was acknowledged must be there, byte for byte, and
// nothing else must be left.
//
// docs/faults.md says for users what is tried here. With LAMINA_SOAK=1 it is tried
// for much longer.
package faults
