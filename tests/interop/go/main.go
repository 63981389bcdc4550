// Readers of packed layers by others, in Go.
//
//	readers tree zstd|tar SIZE <LAYER
//		as kit >= 1.15 unpacks a layer of SIZE bytes: klauspost's stream decoder into
//		archive/tar. Prints the tree as ../../integration/tree.py does, then on stderr how
//		many bytes of the layer nobody asked for.
//	readers ranges LAYER <RANGES
//		zstd-seekable-format-go: the sha256 of each range, one "OFFSET LENGTH" a line
//	readers write FRAME <STREAM >LAYER
//		the same: a layer in frames of FRAME bytes
package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	seekable "github.com/SaveTheRbtz/zstd-seekable-format-go/pkg"
	"github.com/klauspost/compress/zstd"
)

// How long a decoder that reads ahead may take to get to the end by itself.
const patience = 5 * time.Second

// counter counts what was read of a layer; the decoder reads on in a goroutine.
type counter struct {
	source io.Reader
	count  atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.count.Add(int64(n))
	return n, err
}

func printEntry(archive *tar.Reader, head *tar.Header, out io.Writer) error {
	switch head.Typeflag {
	case tar.TypeDir:
		_, err := fmt.Fprintf(out, "d\t%o\t-\t-\t%s\n", head.Mode, head.Name)
		return err
	case tar.TypeReg:
		sum := sha256.New()
		size, err := io.Copy(sum, archive)
		if err == nil {
			_, err = fmt.Fprintf(out, "f\t%o\t%d\t%x\t%s\n", head.Mode, size, sum.Sum(nil),
				head.Name)
		}
		return err
	}
	return fmt.Errorf("%q is of type %q", head.Name, head.Typeflag)
}

func tree(args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	layer := &counter{source: os.Stdin}
	var stream io.Reader = layer
	if args[0] == "zstd" {
		decoder, err := zstd.NewReader(layer)
		if err != nil {
			return err
		}
		defer decoder.Close()
		stream = decoder
	}
	out := bufio.NewWriter(os.Stdout)
	archive := tar.NewReader(stream)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = printEntry(archive, head, out)
		}
		if err != nil {
			return err
		}
	}
	// kit's progress bar waits here, for ever, until all bytes were read.
	for end := time.Now().Add(patience); layer.count.Load() < size && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "unread", size-layer.count.Load())
	return out.Flush()
}

func ranges(args []string) error {
	layer, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer layer.Close()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer decoder.Close()
	reader, err := seekable.NewReader(layer, decoder)
	if err != nil {
		return err
	}
	defer reader.Close()
	var offset, length int64
	for {
		if _, err := fmt.Scanln(&offset, &length); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		sum := sha256.New()
		part := io.NewSectionReader(reader, offset, length)
		if got, err := io.Copy(sum, part); err != nil || got != length {
			return fmt.Errorf("%d bytes at %d: got %d: %w", length, offset, got, err)
		}
		fmt.Printf("%x\n", sum.Sum(nil))
	}
}

func write(args []string) error {
	frame, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		return err
	}
	defer encoder.Close()
	writer, err := seekable.NewWriter(os.Stdout, encoder)
	if err != nil {
		return err
	}
	piece := make([]byte, frame)
	for {
		got, err := io.ReadFull(os.Stdin, piece)
		if got > 0 {
			if _, err := writer.Write(piece[:got]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return writer.Close()
		} else if err != nil {
			return err
		}
	}
}

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "tree":
		err = tree(os.Args[2:])
	case len(os.Args) == 3 && os.Args[1] == "ranges":
		err = ranges(os.Args[2:])
	case len(os.Args) == 3 && os.Args[1] == "write":
		err = write(os.Args[2:])
	default:
		err = errors.New("usage: readers tree zstd|tar SIZE <LAYER | ranges LAYER <RANGES" +
			" | write FRAME <STREAM >LAYER")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "readers:", err)
		os.Exit(1)
	}
}
