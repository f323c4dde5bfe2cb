package steer

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// maxOwner is what the API takes for an owner.
const maxOwner = 256

// WhoAmI asks the API server who the user is.
func (c *Client) WhoAmI(ctx context.Context) (string, error) {
	content, err := c.rest.Post().AbsPath("/apis/authentication.k8s.io/v1/selfsubjectreviews").
		SetHeader("Content-Type", "application/json").
		Body([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)).Do(ctx).Raw()
	if err != nil {
		return "", err
	}
	var review struct {
		Status struct {
			UserInfo struct{ Username string } `json:"userInfo"`
		} `json:"status"`
	}
	if err := json.Unmarshal(content, &review); err != nil {
		return "", fmt.Errorf("review of oneself: %w", err)
	}
	return cutOwner(review.Status.UserInfo.Username), nil
}

func cutOwner(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), maxOwner)], "")
}
