package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// createDatabase makes an empty bbolt file, unless there is a file: under its
// name there is never half of one.
func createDatabase(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	unnamed := path + ".new"
	if err := os.Remove(unnamed); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(unnamed, 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Rename(unnamed, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// checkDatabase reads all of a bbolt file, so that damage is found at start and
// not in the middle of a call, where bbolt answers it with a panic or touches
// memory that is not there.
func checkDatabase(path string) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	// A page number that leads outside of the file is a fault in mapped memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is damaged: %v", r)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("it is cut short: %d bytes, and %d are in use", info.Size(), tx.Size())
		}
		if err := tx.ForEach(readBucket); err != nil {
			return err
		}
		// Runs in a goroutine of bbolt's, where a fault would end the process:
		// only after every page has been touched here.
		var damage []error
		for err := range tx.Check() {
			damage = append(damage, err)
		}
		return errors.Join(damage...)
	})
}

func readBucket(_ []byte, b *bolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v != nil {
			return nil
		}
		nested := b.Bucket(k)
		if nested == nil {
			return fmt.Errorf("bucket %q is not there", k)
		}
		return readBucket(k, nested)
	})
}
