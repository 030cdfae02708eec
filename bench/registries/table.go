package main

import (
	"fmt"
	"slices"
	"time"
)

func median(s []sample, of func(sample) time.Duration) (mid, least, most time.Duration) {
	var d []time.Duration
	for _, x := range s {
		d = append(d, of(x))
	}
	slices.Sort(d)
	return d[len(d)/2], d[0], d[len(d)-1]
}

func wall(s sample) time.Duration { return s.wall }
func cpu(s sample) time.Duration  { return s.cpu }

// printTable prints medians, with the least and the most behind them, and how
// Lamina compares with the other on the same store.
func printTable(systems []system, results []result, w *work) {
	fmt.Printf("\nImage of %d MB in five layers, blob of %d MB; seconds, median (least to most)\n\n", w.imageSize/1e6, w.blobSize/1e6)
	fmt.Print("| | store |")
	for _, d := range done {
		fmt.Printf(" %s |", d)
	}
	fmt.Print("\n|---|---|---|---|---|---|\n")
	for i, s := range systems {
		fmt.Printf("| %s | %s |", s.name, s.store)
		for _, d := range done {
			mid, least, most := median(results[i][d], wall)
			fmt.Printf(" %.2f (%.2f to %.2f) |", mid.Seconds(), least.Seconds(), most.Seconds())
		}
		fmt.Println()
	}
	for i := 0; i+1 < len(systems); i += 2 {
		fmt.Printf("| Lamina's time ÷ distribution's | %s |", systems[i].store)
		for _, d := range done {
			a, _, _ := median(results[i][d], wall)
			b, _, _ := median(results[i+1][d], wall)
			fmt.Printf(" %.2f |", a.Seconds()/b.Seconds())
		}
		fmt.Println()
	}
	fmt.Print("\nProcessor seconds of the server per GB moved, what it does in the background after a push included\n\n| | store |")
	for _, d := range done {
		fmt.Printf(" %s |", d)
	}
	fmt.Print("\n|---|---|---|---|---|---|\n")
	for i, s := range systems {
		fmt.Printf("| %s | %s |", s.name, s.store)
		for _, d := range done {
			mid, _, _ := median(results[i][d], cpu)
			size := w.blobSize
			if d == "push image" || d == "pull image" {
				size = w.imageSize
			}
			fmt.Printf(" %.2f |", mid.Seconds()/(float64(size)/1e9))
		}
		fmt.Println()
	}
}
