package feed

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/fetch"
)

// answer is what a source had to say.
type answer struct {
	body []byte
	eTag string
	// notModified says that the document is the one that was accepted last.
	notModified bool
}

// read reads the feed's source. An error of the API server comes back as it is, one of the source as a *failure.
func (r *Reconciler) read(ctx context.Context, feed *emsv1.MitigationFeed) (*answer, error) {
	if feed.Spec.ConfigMapRef.Name != "" {
		return r.readConfigMap(ctx, feed.Spec.ConfigMapRef)
	}
	return readURL(ctx, feed)
}

func (r *Reconciler) readConfigMap(ctx context.Context, ref emsv1.ConfigMapKeyReference) (*answer, error) {
	key := types.NamespacedName{Namespace: r.Namespace, Name: ref.Name}
	configMap := &corev1.ConfigMap{}
	if err := r.Reader.Get(ctx, key, configMap); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, failed(emsv1.SourceMissingReason, fmt.Errorf("ConfigMap %q: not found; create it from the signed document", key))
		}
		return nil, fmt.Errorf("get ConfigMap %q: %w", key, err)
	}
	if body, ok := configMap.BinaryData[ref.Key]; ok {
		return &answer{body: body}, nil
	}
	if body, ok := configMap.Data[ref.Key]; ok {
		return &answer{body: []byte(body)}, nil
	}
	return nil, failed(emsv1.SourceMissingReason, fmt.Errorf("ConfigMap %q: no key %q", key, ref.Key))
}

func readURL(ctx context.Context, feed *emsv1.MitigationFeed) (*answer, error) {
	request, err := request(feed)
	if err != nil {
		return nil, err
	}
	if !specChanged(feed) {
		// After a change of the spec the document is judged anew, so it has to come along.
		request.ETag = feed.Status.ETag
	}
	response, err := fetch.Get(ctx, request)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read feed: %w", ctx.Err())
	}
	if err != nil {
		return nil, failed(fetchReason(err), err)
	}
	return &answer{body: response.Body, eTag: response.ETag, notModified: response.NotModified}, nil
}

// request is how the feed's endpoint is asked, unconditionally. Errors are *failure.
func request(feed *emsv1.MitigationFeed) (fetch.Request, error) {
	request := fetch.Request{URL: feed.Spec.URL, Limits: limits(&feed.Spec)}
	if feed.Spec.ProxyURL != "" {
		proxy, err := url.Parse(feed.Spec.ProxyURL)
		if err != nil {
			return request, failed(emsv1.InvalidSpecReason, fmt.Errorf("spec.proxyURL: %w", err))
		}
		request.Proxy = proxy
	}
	if feed.Spec.CABundle != "" {
		request.RootCAs = x509.NewCertPool()
		if !request.RootCAs.AppendCertsFromPEM([]byte(feed.Spec.CABundle)) {
			return request, failed(emsv1.InvalidSpecReason, fmt.Errorf("spec.caBundle: holds no certificate in PEM"))
		}
	}
	return request, nil
}

// limits are those of the spec; what it leaves out has the defaults of package fetch.
func limits(spec *emsv1.MitigationFeedSpec) fetch.Limits {
	connect := time.Duration(spec.Limits.ConnectTimeoutSeconds) * time.Second
	return fetch.Limits{
		Dial: connect, TLS: connect,
		Headers: time.Duration(spec.Limits.HeaderTimeoutSeconds) * time.Second,
		Total:   spec.Timeout(),
		Bytes:   int64(spec.Limits.MaxBytes),
		Rate:    int64(spec.Limits.MinimumBytesPerSecond),
	}
}
