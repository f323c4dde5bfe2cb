//go:build unix

package chromium

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// poll is how often a page is asked whether something has come true.
const poll = 100 * time.Millisecond

// Options of a page.
type Options struct {
	// Width and Height of the window, in CSS pixels.
	Width, Height int
	// Scale is how many pixels of a picture there are for one; 1 if 0.
	Scale float64
	// Dark prefers dark colours, Still no motion.
	Dark, Still bool
	// NoScript switches JavaScript off.
	NoScript bool
}

// Page is a tab, with cookies of its own.
type Page struct {
	browser         *Browser
	session, target string

	mu       sync.Mutex
	problems []string
	requests []string
}

// Open opens an empty page.
func (b *Browser) Open(ctx context.Context, o Options) (*Page, error) {
	var created struct {
		Context string `json:"browserContextId"`
	}
	if err := b.call(ctx, "", "Target.createBrowserContext", map[string]any{"disposeOnDetach": true}, &created); err != nil {
		return nil, err
	}
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": created.Context}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p := &Page{browser: b, session: attached.Session, target: target.ID}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, method := range []string{"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"} {
		if err := p.call(ctx, method, nil, nil); err != nil {
			return nil, err
		}
	}
	return p, p.Set(ctx, o)
}

// Set changes how the page is shown.
func (p *Page) Set(ctx context.Context, o Options) error {
	if o.Scale == 0 {
		o.Scale = 1
	}
	scheme, motion := "light", "no-preference"
	if o.Dark {
		scheme = "dark"
	}
	if o.Still {
		motion = "reduce"
	}
	for _, step := range []struct {
		method string
		params map[string]any
	}{
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": o.Width, "height": o.Height, "deviceScaleFactor": o.Scale, "mobile": false}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
			{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion},
		}}},
		{"Emulation.setScriptExecutionDisabled", map[string]any{"value": o.NoScript}},
	} {
		if err := p.call(ctx, step.method, step.params, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the page.
func (p *Page) Close(ctx context.Context) error {
	return p.browser.call(ctx, "", "Target.closeTarget", map[string]any{"targetId": p.target}, nil)
}

func (p *Page) call(ctx context.Context, method string, params map[string]any, result any) error {
	if params == nil {
		params = map[string]any{}
	}
	return p.browser.call(ctx, p.session, method, params, result)
}

// event notes what a test wants to know afterwards.
func (p *Page) event(m message) {
	var said struct {
		Type    string `json:"type"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Entry struct {
			Level string `json:"level"`
			Text  string `json:"text"`
			URL   string `json:"url"`
		} `json:"entry"`
		Details struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
		Args []struct {
			Value any `json:"value"`
		} `json:"args"`
	}
	if json.Unmarshal(m.Params, &said) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, said.Request.URL)
	case "Runtime.exceptionThrown":
		p.problems = append(p.problems, said.Details.Text+" "+said.Details.Exception.Description)
	case "Runtime.consoleAPICalled":
		p.problems = append(p.problems, fmt.Sprint(said.Type, " ", said.Args))
	case "Log.entryAdded":
		p.problems = append(p.problems, fmt.Sprintf("%s: %s (%s)", said.Entry.Level, said.Entry.Text, said.Entry.URL))
	}
}

// Problems are what the page wrote to its console, uncaught exceptions and what the browser complains of, a broken policy of the page among it.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.problems)
}

// Requests are the URLs that were asked for.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Go opens a URL and waits until the page is loaded.
func (p *Page) Go(ctx context.Context, url string) error {
	var went struct {
		Error string `json:"errorText"`
	}
	if err := p.call(ctx, "Page.navigate", map[string]any{"url": url}, &went); err != nil {
		return err
	}
	if went.Error != "" {
		return fmt.Errorf("chromium: %s: %s", url, went.Error)
	}
	return p.loaded(ctx)
}

func (p *Page) loaded(ctx context.Context) error {
	return p.Wait(ctx, "document.readyState === 'complete'")
}

// Eval evaluates an expression in the page, also where the page itself may run no script.
func (p *Page) Eval(ctx context.Context, expression string, result any) error {
	var said struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Details *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	params := map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true}
	if err := p.call(ctx, "Runtime.evaluate", params, &said); err != nil {
		return err
	}
	if said.Details != nil {
		return fmt.Errorf("chromium: %s: %s %s", expression, said.Details.Text, said.Details.Exception.Description)
	}
	if result == nil || len(said.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(said.Result.Value, result)
}

// Text is what an expression gives.
func (p *Page) Text(ctx context.Context, expression string) (string, error) {
	var text string
	err := p.Eval(ctx, "String("+expression+")", &text)
	return text, err
}

// Wait waits until an expression is true. While another document is loaded there is nothing to ask.
func (p *Page) Wait(ctx context.Context, expression string) error {
	for {
		var is bool
		err := p.Eval(ctx, "Boolean("+expression+")", &is)
		if err == nil && is {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("chromium: wait for %s: %w", expression, ctx.Err())
		case <-p.browser.gone:
			return fmt.Errorf("chromium: wait for %s: the browser has ended", expression)
		case <-time.After(poll):
		}
	}
}

// Picture is a PNG of the page; all of it, or as much as the window shows.
func (p *Page) Picture(ctx context.Context, all bool) ([]byte, error) {
	var picture struct {
		Data []byte `json:"data"`
	}
	err := p.call(ctx, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": all, "optimizeForSpeed": false}, &picture)
	return picture.Data, err
}

// Type writes text into what has the focus, as a person does.
func (p *Page) Type(ctx context.Context, text string) error {
	return p.call(ctx, "Input.insertText", map[string]any{"text": text}, nil)
}

// Press presses a key that has no text, such as Tab, or Enter.
func (p *Page) Press(ctx context.Context, key string) error {
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27}
	params := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
	if key == "Enter" {
		params["text"] = "\r"
	}
	if err := p.call(ctx, "Input.dispatchKeyEvent", params, nil); err != nil {
		return err
	}
	params["type"] = "keyUp"
	delete(params, "text")
	return p.call(ctx, "Input.dispatchKeyEvent", params, nil)
}
