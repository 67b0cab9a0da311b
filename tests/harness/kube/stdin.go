package main

import (
	"io"
	"os"
)

// endWithStandardInput ends this program as soon as its standard input does, when
// FAIRLEAD_HARNESS_STDIN is set. Whoever starts it holds the other end of a pipe, and the kernel
// closes that however the holder ends: so not even a test that was killed leaves servers behind.
func endWithStandardInput() {
	if os.Getenv("FAIRLEAD_HARNESS_STDIN") == "" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		// Nobody is left to care for an orderly end.
		os.Exit(1)
	}()
}
