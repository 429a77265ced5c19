// What small test pods run: one static program for an image with nothing else in it.
//
//	pod pause          hold a pod's namespaces and reap its orphans, until told to stop
//	pod lookup NAME    print the addresses of a name
//	pod get URL        print what a URL answers; exit 1 when for a minute it is not 200
//	pod serve ADDRESS  answer every request with the request's path
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	patience = 10 * time.Second // with one question
	// A name or a Service may be new: who is to answer for it hears of it a moment later.
	perseverance = time.Minute
	interval     = 200 * time.Millisecond
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "pause" {
		pause()
		return
	}
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pod pause | lookup NAME | get URL | serve ADDRESS")
		os.Exit(2)
	}
	actions := map[string]func(string) error{"lookup": lookup, "get": get, "serve": serve}
	action, known := actions[os.Args[1]]
	if !known {
		fmt.Fprintf(os.Stderr, "pod: no such action: %s\n", os.Args[1])
		os.Exit(2)
	}
	if err := action(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGINT, syscall.SIGTERM)
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func lookup(name string) error {
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limited, name)
	for _, address := range addresses {
		fmt.Println(address)
	}
	return err
}

func get(url string) error {
	client := http.Client{Timeout: patience}
	for end := time.Now().Add(perseverance); ; time.Sleep(interval) {
		body, err := getOnce(&client, url)
		if err == nil {
			_, err = os.Stdout.Write(body)
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("for %s, at last: %w", perseverance, err)
		}
	}
}

func getOnce(client *http.Client, url string) ([]byte, error) {
	answer, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %s", url, answer.Status, body)
	}
	return body, err
}

func serve(address string) error {
	server := http.Server{
		Addr:              address,
		ReadHeaderTimeout: patience,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, r.URL.Path)
		}),
	}
	return server.ListenAndServe()
}
