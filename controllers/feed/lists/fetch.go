package lists

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/revocation"
)

const (
	// maxBytes is the largest answer: a list of the greatest size in PEM, which takes four bytes for three and a line end for
	// every 64 of them, and white space around it.
	maxBytes = 2 * revocation.MaxTotalBytes
	// maxTotal is how long fetching the lists may take. A document may be waiting for it.
	maxTotal = 20 * time.Second
)

// Fetch fetches a list from each URL, all at the same time, with the proxy, roots and limits of the request, which are tightened
// to what lists need. The error joins those of the URLs that failed, in their order; the lists of the others are returned all
// the same.
func Fetch(ctx context.Context, urls []string, request fetch.Request) ([]*revocation.List, error) {
	request.ETag, request.Wait = "", 0
	request.Limits.Bytes = maxBytes
	if request.Limits.Total <= 0 || request.Limits.Total > maxTotal {
		request.Limits.Total = maxTotal
	}
	found := make([]*revocation.List, len(urls))
	failed := make([]error, len(urls))
	var all sync.WaitGroup
	for i, url := range urls {
		all.Go(func() { found[i], failed[i] = fetchOne(ctx, url, request) })
	}
	all.Wait()
	var lists []*revocation.List
	for _, list := range found {
		if list != nil {
			lists = append(lists, list)
		}
	}
	return lists, errors.Join(failed...)
}

func fetchOne(ctx context.Context, url string, request fetch.Request) (*revocation.List, error) {
	request.URL = url
	response, err := fetch.Get(ctx, request)
	if err != nil {
		return nil, err
	}
	list, err := revocation.Decode(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", response.FinalURL, err)
	}
	// A redirect may have made the address longer than the status can hold, which would then be refused as a whole.
	list.Source = conditions.Truncate(response.FinalURL)
	return list, nil
}
