package main

import (
	"fmt"
	"slices"
)

const (
	bareName   = "MinIO itself"  // without a registry before it
	beforeName = "Lamina before" // another binary of ours
)

// printRates prints a table for each store and step: medians, and how Lamina
// compares with each other system.
func printRates(r rates, o rateOptions) {
	for _, store := range o.stores {
		for _, step := range []string{stepChunked, stepWhole, stepPull, stepPullAgain, stepManifest} {
			var keys []cellKey
			for k := range r {
				if k.store == store && k.step == step {
					keys = append(keys, k)
				}
			}
			if len(keys) == 0 {
				continue
			}
			slices.SortFunc(keys, func(a, b cellKey) int { return (a.mb-b.mb)*100 + a.clients - b.clients })
			printRateTable(r, keys)
		}
	}
}

func printRateTable(r rates, keys []cellKey) {
	unit := "MB/s"
	if keys[0].step == stepManifest {
		unit = "a second"
	}
	names := []string{"Lamina"}
	for _, more := range []string{beforeName, "distribution", zotSynced, zotPlain, bareName} {
		if len(r[keys[0]][more]) > 0 {
			names = append(names, more)
		}
	}
	fmt.Printf("\n%s, %s; %s, median (least to most)\n\n| |", keys[0].step, keys[0].store, unit)
	for _, n := range names {
		fmt.Printf(" %s |", n)
	}
	for _, n := range names[1:] {
		fmt.Printf(" Lamina ÷ %s |", n)
	}
	fmt.Print("\n|---|")
	for range 2*len(names) - 1 {
		fmt.Print("---|")
	}
	fmt.Println()
	for _, k := range keys {
		label := fmt.Sprintf("%d MB × %d", k.mb, k.clients)
		if k.mb == 0 {
			label = fmt.Sprintf("× %d", k.clients)
		}
		fmt.Printf("| %s |", label)
		ours, _, _ := middle(r[k]["Lamina"])
		for _, n := range names {
			if len(r[k][n]) == 0 { // it was interrupted
				fmt.Print(" |")
				continue
			}
			mid, least, most := middle(r[k][n])
			fmt.Printf(" %.0f (%.0f to %.0f) |", mid, least, most)
		}
		for _, n := range names[1:] {
			if mid, _, _ := middle(r[k][n]); mid > 0 && ours > 0 {
				fmt.Printf(" %.2f |", ours/mid)
			} else {
				fmt.Print(" |")
			}
		}
		fmt.Println()
	}
}

func middle(v []float64) (mid, least, most float64) {
	if len(v) == 0 {
		return 0, 0, 0
	}
	s := slices.Sorted(slices.Values(v))
	mid = s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (s[len(s)/2-1] + mid) / 2
	}
	return mid, s[0], s[len(s)-1]
}
