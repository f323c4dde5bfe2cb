// Command helper plays what the tests of servers with Windows need there: a service, and a program that holds a file.
//
//	helper service            runs as a service until it is stopped
//	helper query NAME         shows the state and the start type of a service, in numbers of winsvc.h
//	helper hold FILE RELEASE  opens FILE so that nobody else can, until the file RELEASE exists
package main

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "service":
		err = svc.Run("", handler{})
	case len(os.Args) == 4 && os.Args[1] == "hold":
		err = hold(os.Args[2], os.Args[3])
	case len(os.Args) == 3 && os.Args[1] == "query":
		err = query(os.Args[2])
	default:
		err = errors.New("usage: helper service | helper query NAME | helper hold FILE RELEASE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

type handler struct{}

// Execute implements svc.Handler.
func (handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	for r := range requests {
		switch r.Cmd {
		case svc.Stop, svc.Shutdown:
			status <- svc.Status{State: svc.StopPending}
			return false, 0
		case svc.Interrogate:
			status <- r.CurrentStatus
		default:
			// What is not accepted is not sent.
		}
	}
	return false, 0
}

// query asks the service control manager; the program sc of Wine cannot.
func query(service string) error {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(service)
	if err != nil {
		return err
	}
	h, err := windows.OpenService(manager, name, windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	buffer := make([]byte, 8<<10)
	config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buffer[0]))
	var needed uint32
	if err := windows.QueryServiceConfig(h, config, uint32(len(buffer)), &needed); err != nil {
		return err
	}
	var status windows.SERVICE_STATUS
	if err := windows.QueryServiceStatus(h, &status); err != nil {
		return err
	}
	fmt.Printf("state %d start %d\n", status.CurrentState, config.StartType)
	return nil
}

// hold opens a file and shares it with nobody, as soon as nobody else has it open: the agent reads it now and then. A file
// beside the release says that it is held.
func hold(file, release string) error {
	name, err := windows.UTF16PtrFromString(file)
	if err != nil {
		return err
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	h, err := windows.CreateFile(name, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	for errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		<-again.C
		h, err = windows.CreateFile(name, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	}
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	if err := os.WriteFile(release+".held", nil, 0o600); err != nil {
		return err
	}
	for range again.C {
		if _, err := os.Stat(release); err == nil {
			return nil
		}
	}
	return nil
}
