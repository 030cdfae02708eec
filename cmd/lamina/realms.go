package main

import (
	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/blobstore/realm"
)

// addRealms gives a command the flags that say which repositories share.
func addRealms(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArray("realm", nil, "keep the repositories below these prefixes apart from all others: `NAME=PREFIX[,PREFIX…]`; may come several times")
	f.Bool("change-realms", false, "make the realms given here those of the bucket; then start its other servers again")
}

// realms reads these flags. One value may have several realms, with white space
// between: an environment variable comes only once.
func realms(cmd *cobra.Command) (m realm.Map, change bool, err error) {
	texts, _ := cmd.Flags().GetStringArray("realm")
	change, _ = cmd.Flags().GetBool("change-realms")
	if m, err = realm.Parse(texts...); err != nil {
		return m, change, usagef("--realm: %w", err)
	}
	return m, change, nil
}
