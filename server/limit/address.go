package limit

import "net/netip"

// Address is the name of the caller at a network address, HOST:PORT: the host,
// or of an IPv6 address the network of 64 bits that it is in. What is no such
// address is its own name.
func Address(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}
