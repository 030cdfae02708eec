// Package clients has tests of the registry with the clients that people use, as
// they come: each pushes, pulls, and says which digest it saw. docs/clients.md
// says with which versions that was done.
package clients
