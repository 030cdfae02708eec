// Package e2e has tests of the whole path, with real containerds and containers:
// an image is pushed, run on two hosts from one store, and what a container
// wrote is carried to the other host.
package e2e
