// Package push learns of new documents within seconds, from endpoints that offer it: it holds one request per feed open until
// the endpoint has another document (long polling, the preference "wait" of RFC 7240).
//
// # Usage
//
//	watcher := push.New(push.Options{Notify: func(ctx context.Context, name string, changed bool) { … }})
//	go watcher.Start(ctx) // controller-runtime: mgr.Add(watcher)
//	watcher.Watch("contoso", push.Target{Version: "…", Request: request})
//	state := watcher.State("contoso")
//	watcher.Forget("contoso")
//
// # Considerations
//
// It brings no documents. What comes back is dropped, and Notify says that it is worth polling: the poll stays the only place
// where a document is fetched, verified and accepted, with or without push. An endpoint that lies here causes polls and no more,
// and those are paced: whoever answers at once again and again is asked ever more rarely, down to once in [MaxPause].
//
// It asks from the last document that it was told of, accepted or not. Asking from the accepted one would make an endpoint
// with a document that is refused answer at once, for ever.
//
// Whether an endpoint offers push shows in its answers only. One that does not costs one request when its feed is first watched,
// and one in [ProbeInterval] at most.
//
// The requests are held by the leader alone, so that an endpoint has one connection per feed and cluster.
package push
