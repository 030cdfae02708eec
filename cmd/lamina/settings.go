package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// systemConfig is read if it is there.
const systemConfig = "/etc/lamina/lamina.toml"

// maxConfig is the largest file of settings in bytes.
const maxConfig = 1 << 20

// alsoIn marks a flag whose value is looked for in another command's table too.
const alsoIn = "lamina_also_in"

// A configError is about a file of settings, which --help does not explain.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// A configFile is a file of settings that has been read.
type configFile struct {
	name string
	keys map[string]any
}

func envName(flag string) string {
	return "LAMINA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settings gives the flags of cmd that are not on the command line the values
// that they have in the environment or in a file.
func (a *app) settings(cmd *cobra.Command) error {
	files, err := a.configFiles(cmd)
	if err != nil {
		return configError{err}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || !configurable(f) {
			return
		}
		if v, ok := a.getenv(envName(f.Name)); ok {
			if serr := setFlag(f, v); serr != nil {
				err = usagef("%s: %w", envName(f.Name), serr)
			}
			return
		}
		for _, c := range files {
			v, ok := c.lookup(cmd, f)
			if !ok {
				continue
			}
			if serr := setFlag(f, v); serr != nil {
				err = configError{fmt.Errorf("%s: %s: %w", c.name, f.Name, serr)}
			}
			return
		}
	})
	return err
}

// configurable says whether a flag can be set in the environment and in files.
func configurable(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "version" }

// configFiles reads what there is, the one that counts first in front.
func (a *app) configFiles(cmd *cobra.Command) ([]configFile, error) {
	name := cmd.Flag("config").Value.String()
	if name == "" {
		name, _ = a.getenv(envName("config"))
	}
	root := cmd.Root()
	if name != "" {
		c, err := readConfig(name, root)
		return []configFile{c}, err
	}
	var files []configFile
	for _, name := range a.defaultConfigs() {
		c, err := readConfig(name, root)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, c)
	}
	return files, nil
}

func (a *app) defaultConfigs() []string {
	var names []string
	if dir, ok := a.getenv("XDG_CONFIG_HOME"); ok && filepath.IsAbs(dir) {
		names = append(names, filepath.Join(dir, "lamina", "lamina.toml"))
	} else if home, ok := a.getenv("HOME"); ok && filepath.IsAbs(home) {
		names = append(names, filepath.Join(home, ".config", "lamina", "lamina.toml"))
	}
	return append(names, systemConfig)
}

// readConfig reads a file and checks its keys against the flags that there are.
func readConfig(name string, root *cobra.Command) (configFile, error) {
	c := configFile{name: name}
	f, err := os.Open(name)
	if err != nil {
		return c, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return c, err
	}
	if fi.Size() > maxConfig {
		return c, fmt.Errorf("%s: it has %d bytes, allowed are %d", name, fi.Size(), maxConfig)
	}
	if _, err := toml.NewDecoder(f).Decode(&c.keys); err != nil {
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			return c, fmt.Errorf("%s:%d: %s", name, p.Position.Line, p.Message)
		}
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, c.check(root)
}

// check finds keys that no flag is called like.
func (c configFile) check(root *cobra.Command) error {
	commands := slices.DeleteFunc(root.Commands(), func(cmd *cobra.Command) bool { return cmd.Name() == "help" })
	for key, v := range c.keys {
		if table, ok := v.(map[string]any); ok {
			i := slices.IndexFunc(commands, func(cmd *cobra.Command) bool { return cmd.Name() == key })
			if i < 0 {
				return fmt.Errorf("%s: unknown table [%s] (a table is named after a command)", c.name, key)
			}
			for key := range table {
				if !hasFlag(commands[i], key) {
					return fmt.Errorf("%s: unknown key %q in [%s] (lamina %s --help lists the flags, and the keys are called like them)", c.name, key, commands[i].Name(), commands[i].Name())
				}
			}
			continue
		}
		if !slices.ContainsFunc(commands, func(cmd *cobra.Command) bool { return hasFlag(cmd, key) }) {
			return fmt.Errorf("%s: unknown key %q (keys are called like the flags of the commands)", c.name, key)
		}
	}
	return nil
}

func hasFlag(cmd *cobra.Command, name string) bool {
	f := cmd.LocalNonPersistentFlags().Lookup(name)
	return f != nil && configurable(f) && name != "config"
}

// lookup finds the value of a flag: in the command's own table, or in another
// that the flag belongs to, or at the top.
func (c configFile) lookup(cmd *cobra.Command, f *pflag.Flag) (any, bool) {
	for _, name := range append([]string{cmd.Name()}, f.Annotations[alsoIn]...) {
		if table, ok := c.keys[name].(map[string]any); ok {
			if v, ok := table[f.Name]; ok {
				return v, true
			}
		}
	}
	v, ok := c.keys[f.Name]
	return v, ok
}

// setFlag gives a flag a value from the environment (a string) or from a file.
func setFlag(f *pflag.Flag, v any) error {
	if list, ok := v.([]any); ok {
		s, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return errors.New("it is a list, and one value is wanted")
		}
		var values []string
		for _, v := range list {
			values = append(values, fmt.Sprint(v))
		}
		return s.Replace(values)
	}
	if _, ok := v.(map[string]any); ok {
		return errors.New("it is a table, and a value is wanted")
	}
	if err := f.Value.Set(fmt.Sprint(v)); err != nil {
		return fmt.Errorf("%q: %w", fmt.Sprint(v), err)
	}
	return nil
}

// mentionEnvironment adds to the help of each flag its environment variable.
func mentionEnvironment(root *cobra.Command) {
	mention := func(f *pflag.Flag) {
		if configurable(f) && !strings.Contains(f.Usage, "[$") {
			f.Usage += " [$" + envName(f.Name) + "]"
		}
	}
	root.PersistentFlags().VisitAll(mention)
	for _, c := range root.Commands() {
		c.Flags().VisitAll(mention)
	}
}
