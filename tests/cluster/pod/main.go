// What small test pods run: one static program for an image with nothing else in it.
//
//	pod pause          hold a pod's namespaces and reap its orphans, until told to stop
//	pod lookup NAME    print the addresses of a name
//	pod get URL        print what a URL answers; exit 1 unless it is 200
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

const patience = 10 * time.Second

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
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return nil
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
