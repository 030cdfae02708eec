package retain

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Limits of the times in a rule. Less than an hour is no time for a push whose
// tag comes last.
const (
	minAge = time.Hour
	maxAge = 100 * 365 * 24 * time.Hour
)

// units by which ages are written, the largest first.
var units = []struct {
	letter byte
	is     time.Duration
}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}, {'h', time.Hour}}

var errNoAge = errors.New(`it is no time such as "30d", "12h", "2w" or "1d12h"`)

// parseAge reads a time such as "30d" or "1w2d12h": whole numbers of weeks, days
// (of 24 hours) and hours, each at most once and in this order, together from
// an hour to 100 years.
func parseAge(s string) (time.Duration, error) {
	var age time.Duration
	rest, unit := s, 0
	for rest != "" {
		n := 0
		for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
			n++
		}
		if n == 0 || n > 7 || n == len(rest) {
			return 0, errNoAge
		}
		count, err := strconv.Atoi(rest[:n])
		if err != nil {
			return 0, errNoAge
		}
		for unit < len(units) && units[unit].letter != rest[n] {
			unit++
		}
		if unit == len(units) {
			return 0, errNoAge
		}
		if time.Duration(count) > maxAge/units[unit].is {
			return 0, fmt.Errorf("%.20q is longer than 100 years", s)
		}
		age += time.Duration(count) * units[unit].is
		rest, unit = rest[n+1:], unit+1
	}
	switch {
	case s == "":
		return 0, errNoAge
	case age < minAge:
		return 0, fmt.Errorf("%.20q is shorter than an hour", s)
	case age > maxAge:
		return 0, fmt.Errorf("%.20q is longer than 100 years", s)
	}
	return age, nil
}

// showAge is how long something has been, for people.
func showAge(d time.Duration) string {
	switch {
	case d < time.Hour:
		return "less than an hour"
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
