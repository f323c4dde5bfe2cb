package iisserver

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// logFields are those of the log, in their order.
const logFields = "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) cs-host sc-status sc-substatus sc-win32-status time-taken"

// win32Aborted is ERROR_CONNECTION_ABORTED, with which IIS logs a request that it dropped.
const win32Aborted = 1236

// LogFile is the log of a day, which is in UTC as IIS has it by default. The id is that of the site.
func LogFile(root, id string, day time.Time) string {
	return filepath.Join(root, "inetpub", "logs", "LogFiles", "W3SVC"+id, "u_ex"+day.UTC().Format("060102")+".log")
}

// writeLog appends one line to the log of the day.
func (s *Server) writeLog(id string, r *http.Request, a answer) error {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	at := now().UTC()
	s.log.Lock()
	defer s.log.Unlock()
	name := LogFile(s.root, id, at)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	_, err := os.Stat(name)
	file, openErr := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if openErr != nil {
		return fmt.Errorf("log: %w", openErr)
	}
	text := line(at, r, a)
	if err != nil {
		text = fmt.Sprintf("#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: %s\r\n#Fields: %s\r\n", at.Format(time.DateTime), logFields) + text
	}
	_, err = file.WriteString(text)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

func line(at time.Time, r *http.Request, a answer) string {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	server, port := "127.0.0.1", "80"
	if address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if host, p, err := net.SplitHostPort(address.String()); err == nil {
			server, port = host, p
		}
	}
	win32 := 0
	if a.abort {
		win32 = win32Aborted
	}
	return fmt.Sprintf("%s %s %s %s %s %s - %s %s %s %s %d %d %d %d\r\n",
		at.Format(time.DateTime), server, r.Method, field(r.URL.Path), query(r.URL.RawQuery), port, field(client),
		field(r.UserAgent()), field(r.Referer()), field(r.Host), a.status, a.subStatus, win32, 0)
}

// field writes a value: blanks as plus signs, nothing as a minus sign, control characters and what is no ASCII escaped.
func field(value string) string {
	if value == "" {
		return "-"
	}
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == ' ':
			out.WriteByte('+')
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&out, "%%%02X", c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// query is logged as it was sent.
func query(raw string) string {
	if raw == "" {
		return "-"
	}
	return strings.ReplaceAll(raw, " ", "+")
}
